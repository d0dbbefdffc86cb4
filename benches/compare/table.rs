//! Medians, ratios, and how they are printed.

/// The value in the middle; of an even number of them, what lies halfway between the two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    (values.get(low).unwrap_or(&f64::NAN) + values.get(high).unwrap_or(&f64::NAN)) / 2.0
}

/// The median of the rounds' ratios: what was measured next to each other in time is divided by each other.
pub(crate) fn ratio<T>(ours: &[T], theirs: &[T], value: impl Fn(&T) -> f64) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| value(ours) / value(theirs)))
}

/// Numbers as people read them: more digits the smaller they are.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        big if big >= 1000.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    if value.is_nan() { "-".to_owned() } else { format!("{value:.digits$}") }
}

/// A table with the names at the left and all else to the right of its column.
pub(crate) fn print(heads: &[&str], rows: &[(String, Vec<String>)]) {
    let first = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|(_, cells)| Some(cells.get(column)?.chars().count()));
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let line = |name: &str, cells: &[String]| {
        let cells: Vec<String> =
            cells.iter().enumerate().map(|(column, cell)| format!("{cell:>width$}", width = width(column))).collect();
        println!("{name:first$}  {}", cells.join("  "));
    };
    line("", &heads.iter().map(|&head| head.to_owned()).collect::<Vec<_>>());
    for (name, cells) in rows {
        line(name, cells);
    }
}
