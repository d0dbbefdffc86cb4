//! Columns that damage may have changed: what cannot be read is the next best, so that one row never stands in the way of others.

use std::borrow::Cow;

use rusqlite::types::ValueRef;
use rusqlite::{Result, Row};

use crate::event::EventId;

/// A number; 0 for anything else.
pub(super) fn number(row: &Row<'_>, column: usize) -> Result<i64> {
    Ok(if let ValueRef::Integer(number) = row.get_ref(column)? { number } else { 0 })
}

/// How many; 0 for what cannot be counted.
pub(super) fn count(row: &Row<'_>, column: usize) -> Result<u32> {
    Ok(u32::try_from(number(row, column)?).unwrap_or(0))
}

/// A text, with a sign for each character that is none; `None` for anything but text.
pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<Cow<'r, str>>> {
    Ok(if let ValueRef::Text(bytes) = row.get_ref(column)? { Some(String::from_utf8_lossy(bytes)) } else { None })
}

/// Bytes; `None` for anything else.
pub(super) fn bytes<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r [u8]>> {
    Ok(if let ValueRef::Blob(bytes) = row.get_ref(column)? { Some(bytes) } else { None })
}

/// The id of an event; `None` for what is none.
pub(super) fn event_id(row: &Row<'_>, column: usize) -> Result<Option<EventId>> {
    Ok(bytes(row, column)?.and_then(|bytes| bytes.try_into().ok()).map(EventId::from_bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::time::timeout;

    use crate::spool::contract::{batch, counters_become, inside, lease_all, name, number, open};
    use crate::spool::{DeadLetterQuery, Reason, Settlement, Spool};

    async fn letters(spool: &dyn Spool) -> Vec<(String, String)> {
        let page = spool.dead_letters(DeadLetterQuery { oldest_first: true, ..DeadLetterQuery::default() }).await;
        page.unwrap()
            .letters
            .into_iter()
            .map(|letter| (letter.event_type.to_string(), letter.webhook.to_string()))
            .collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_damaged_row_stands_in_nobodys_way() {
        let directory = TempDir::new().unwrap();
        open(directory.path()).append(batch(1..=5, &["a"])).await.unwrap();
        inside(directory.path())
            .execute_batch(
                "UPDATE events SET id = x'00' WHERE seq = 1;
                 UPDATE events SET type = CAST(x'41ff' AS TEXT) WHERE seq = 2;
                 UPDATE deliveries SET attempts = -1, last = CAST(x'ff' AS TEXT) WHERE seq = 3;
                 INSERT INTO deliveries VALUES (1, 0, 90, 0, 0, 0, 0, NULL);",
            )
            .unwrap();
        let spool = open(directory.path());
        let leases = lease_all(&*spool, "a", 4).await;
        assert_eq!(leases.iter().map(number).collect::<Vec<_>>(), [2, 3, 4, 5], "the first cannot be known any more");
        assert_eq!((&*leases[0].event.event_type, leases[1].attempts), ("A\u{fffd}", 0));
        // What is appended now has a smaller number than the one without an event had.
        spool.append(batch(6..=6, &["a"])).await.unwrap();
        let more = lease_all(&*spool, "a", 1).await;
        assert_eq!(more.iter().map(number).collect::<Vec<_>>(), [6]);
        drop((leases, more));
        let buried = timeout(Duration::from_secs(20), spool.bury(&name("a"), Reason::Expired, None)).await.unwrap();
        assert_eq!(buried, Ok(5));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_damaged_dead_letter_hides_no_other() {
        let directory = TempDir::new().unwrap();
        let spool = open(directory.path());
        spool.append(batch(1..=3, &["a"])).await.unwrap();
        for lease in lease_all(&*spool, "a", 3).await {
            let at = jiff::Timestamp::now();
            spool
                .settle(lease, Settlement::Bury { reason: Reason::Gone, last: None, attempts: 1, at, record: None })
                .await;
        }
        counters_become(&*spool, "a", (0, 3)).await;
        inside(directory.path())
            .execute_batch(
                "UPDATE events SET type = CAST(x'41ff' AS TEXT) WHERE seq = 1;
                 UPDATE dead SET reason = CAST(x'ff' AS TEXT), attempts = 4294967296, last = CAST(x'ff' AS TEXT) WHERE seq = 1;
                 UPDATE events SET id = x'00' WHERE seq = 2;",
            )
            .unwrap();
        let letter = |event_type: &str| (event_type.to_owned(), "a".to_owned());
        assert_eq!(letters(&*spool).await, [letter("A\u{fffd}"), letter("RequestGranted")]);
    }
}
