//! Rows of a spool: anything in every column of every table.
//!
//! A case is lines: a table and its columns, with blanks between. A column is a whole number, `-` for null, `x` and hexadecimal
//! digits for bytes, and anything else is text, be it UTF-8 or not. A line `loose` lets every column hold every type, a line
//! `empty` takes out what a sound spool held before, and `seq` sets the number after which dead letters are numbered.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::{Target, folder, spool};

pub const TARGET: Target = Target { name: "spool_rows", run, seeds };

/// The tables and how many columns they have.
const TABLES: [(&str, usize); 8] = [
    ("webhooks", 4),
    ("events", 7),
    ("deliveries", 8),
    ("owed", 2),
    ("dead", 8),
    ("invocations", 7),
    ("key_sets", 5),
    ("keys_1", 4),
];
/// Lines of one case.
const LINES_MAX: usize = 64;

pub fn run(data: &[u8]) {
    let folder = folder(&[("spool.db", &spool::SOUND[0].database)]);
    write(&folder.path().join("spool.db"), data).expect("rows can be written into a sound database");
    spool::hold(folder.path(), true);
}

fn write(path: &std::path::Path, data: &[u8]) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA ignore_check_constraints = ON; BEGIN")?;
    for line in data.split(|byte| *byte == b'\n').take(LINES_MAX) {
        let mut words = line.split(|byte| *byte == b' ');
        let name = words.next().unwrap_or_default();
        match name {
            b"loose" => connection.execute_batch(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(replace(sql, 'STRICT, WITHOUT', 'WITHOUT'), ') STRICT', ')');
                 COMMIT; PRAGMA writable_schema = RESET; BEGIN",
            )?,
            b"empty" => {
                for (table, _) in TABLES {
                    connection.execute(&format!("DELETE FROM {table}"), [])?;
                }
            }
            _ => {}
        }
        let Some((table, columns)) = TABLES.into_iter().find(|(table, _)| table.as_bytes() == name) else { continue };
        let mut values: Vec<Value> = words.take(columns).map(value).collect();
        values.resize(columns, Value::Integer(1));
        let places = vec!["?"; columns].join(", ");
        // Text is bound as bytes, so that it need not be UTF-8.
        let as_text = |value: &Value| matches!(value, Value::Blob(bytes) if bytes.first() == Some(&b'"'));
        let places = places.split(", ").zip(&values).map(|(place, value)| {
            if as_text(value) { "substr(CAST(? AS TEXT), 2)".to_owned() } else { place.to_owned() }
        });
        let sql = format!("INSERT OR REPLACE INTO {table} VALUES ({})", places.collect::<Vec<_>>().join(", "));
        // What the table refuses cannot be in it.
        let _ = connection.execute(&sql, params_from_iter(values));
    }
    connection.execute_batch("COMMIT")
}

fn value(word: &[u8]) -> Value {
    let text = || Value::Blob([b"\"", word].concat());
    match (word, std::str::from_utf8(word).ok().map(str::parse)) {
        (_, Some(Ok(number))) => Value::Integer(number),
        (b"-", _) => Value::Null,
        ([b'x', digits @ ..], _) => {
            let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            digits.chunks(2).map(pair).collect::<Option<Vec<u8>>>().map_or_else(text, Value::Blob)
        }
        _ => text(),
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    Vec::new()
}
