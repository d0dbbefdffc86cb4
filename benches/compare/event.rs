//! The event that is posted: a request of the documented form, filled up to a size, with a number to know it again by.

/// What a number stands behind.
const MARK: &[u8] = b"compare-";
/// Digits of a run and of a number in it.
const RUN_DIGITS: usize = 4;
const NUMBER_DIGITS: usize = 8;
/// What fills an event: words with what has to be escaped among them.
const FILL: &str = r#"until \"Friday\", "#;

/// Events of one type and size.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    before: String,
    after: String,
}

impl Shape {
    /// As near to so many bytes as can be: never less than the fields take without a fill.
    pub(crate) fn new(event_type: &str, bytes: usize) -> Self {
        let before = format!(r#"{{"event_type":"{event_type}","event_time":"1764345600.120000340","data":{{"id":""#);
        let whole = |fill: &str| {
            format!(
                r#"","friendly_id":"AR-2041","requester":{{"id":"u-17","name":"Ana García","email":"ana.garcia@example.com"}},
"grantee":{{"id":"u-17","source_id":"okta","name":"Ana García","type":"user"}},"justification":"Month's end: the \"orders\" ledger\n{fill}",
"creation_date":"1764345598.000000001","revocation_date":null,"access_flow":{{"id":"f-3","name":"Finance, reading"}},"access_bundle":null,
"access_duration_in_seconds":28800,"access_groups":[{{"integration":{{"id":"i-9","type":"postgresql","name":"prod-ledger"}},
"resource_types":[{{"id":"postgresql-database","name":"Database","display_path":"PostgreSQL/Database"}}],
"access_units":[{{"resource":{{"id":"r-5","name":"orders","path":"prod-ledger/orders"}},"permission":{{"id":"p-1","name":"READ"}}}}]}}],
"approvals_logical_relation":"AnyOf","approvals":[{{"name":"Manager","type":"user","status":"Approved",
"approver":{{"id":"u-4","name":"Lee Park","email":"lee.park@example.com"}}}}]}}}}"#
            )
        };
        let id = MARK.len() + RUN_DIGITS + 1 + NUMBER_DIGITS;
        let room = bytes.saturating_sub(before.len() + id + whole("").len());
        let mut fill = FILL.repeat(room / FILL.len());
        fill.push_str(&"x".repeat(room % FILL.len()));
        Self { before, after: whole(&fill) }
    }

    /// The event with this number in this run.
    pub(crate) fn event(&self, run: u32, number: usize) -> String {
        let mark = String::from_utf8_lossy(MARK);
        format!("{}{mark}{run:0RUN_DIGITS$}-{number:0NUMBER_DIGITS$}{}", self.before, self.after)
    }
}

/// The run and the number that a delivered body has in it.
pub(crate) fn find(body: &[u8]) -> Option<(u32, usize)> {
    let at = body.windows(MARK.len()).position(|part| part == MARK)? + MARK.len();
    let id = std::str::from_utf8(body.get(at..at + RUN_DIGITS + 1 + NUMBER_DIGITS)?).ok()?;
    let (run, number) = id.split_once('-')?;
    Some((run.parse().ok()?, number.parse().ok()?))
}
