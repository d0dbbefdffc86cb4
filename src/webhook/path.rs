//! What values must not make of a URL's path.
//!
//! A value is percent-encoded as a part of its segment, so on the wire it cannot leave it. Many servers decode before they resolve,
//! some more than once (a proxy and what stands behind it), some take `\` for `/`, and some cut a segment at `;` (path parameters) or
//! at NUL, so `..%2Fx` can climb out after all. And many take `//` for `/`: what was to be one thing of a collection is all of it.

/// Holds a rendered path, with its query, against both. `blanks` are the bytes at which a value wrote nothing.
pub(super) fn check(path_and_query: &str, blanks: &[usize]) -> Result<(), &'static str> {
    let path = path_and_query.split('?').next().unwrap_or_default();
    let blank = |at: &usize| {
        path.split_at_checked(*at)
            .is_some_and(|(before, behind)| before.ends_with('/') && (behind.is_empty() || behind.starts_with('/')))
    };
    if blanks.iter().any(blank) {
        return Err("a path segment is empty, because its value is: the request would be for something else");
    }
    if path.contains(['.', '%']) && path.split('/').any(climbs) {
        return Err("a value makes a path segment `.` or `..`, in itself or once it is decoded");
    }
    Ok(())
}

/// Whether a segment is or becomes one that is resolved away, however often it is decoded.
pub(crate) fn climbs(segment: &str) -> bool {
    let mut plain: Vec<u8> = Vec::with_capacity(segment.len());
    for byte in segment.bytes() {
        plain.push(byte);
        // What is decoded may be the end of another encoding.
        while let [.., b'%', high, low] = plain.as_slice()
            && let Some(decoded) = decoded(*high, *low)
        {
            plain.truncate(plain.len() - 3);
            plain.push(decoded);
        }
    }
    plain.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots)
}

/// The byte of two hexadecimal digits.
fn decoded(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// One dot or two, up to what cuts a segment. Blanks and control characters are dropped here and there, and count for nothing.
fn is_dots(part: &[u8]) -> bool {
    let cut = part.iter().take_while(|byte| !matches!(byte, b';' | 0));
    let mut kept = cut.filter(|byte| !byte.is_ascii_whitespace() && !byte.is_ascii_control());
    kept.next() == Some(&b'.') && kept.next().is_none_or(|byte| *byte == b'.') && kept.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_that_are_resolved_away_are_seen_in_every_spelling() {
        for path in [
            "/a/../b",
            "/..",
            "/./",
            "/a/%2e%2E?x",
            "/a/.%2e",
            "/..%2Fb",
            "/a%2F..%2Fb",
            "/a%2f%2e%2e",
            "/..%5Cb",
            "/a%5c..",
            "/%252e%252e",
            "/..%252Fb",
            "/%25252e.",
            "/%2525252525252e%252fx",
            "/%%32%65.",
            "/%25%32%65.",
            "/..%3Bx=1",
            "/..;x",
            "/..%00.html",
            "/.%0A.",
            "/..%20",
            "/%09..%2Fb",
        ] {
            assert!(check(path, &[]).is_err(), "{path}");
        }
        for path in [
            "/",
            "/a/b..c",
            "/...",
            "/a?x=../y",
            "/a?x=..%2Fy",
            "/..a",
            "/a..%2Fb",
            "/v1.2",
            "/%2e%2e%2e",
            "/%zz..",
            "/%",
            "/%2",
            "/a%3B..",
            "/100%25",
            "/a%2Fb",
            "/.well-known/x",
            "/a.%C3%A9",
            "/..%C3%A9",
        ] {
            assert_eq!(check(path, &[]), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_segment_is_empty_where_nothing_but_values_that_wrote_nothing_stands_in_it() {
        for (path, at) in [("/a//b", 3), ("/a/", 3), ("/", 1), ("/a/?x=1", 3)] {
            assert!(check(path, &[at]).is_err(), "{path}");
            assert_eq!(check(path, &[]), Ok(()), "{path} is what the file says");
        }
        for (path, at) in [("/a/b", 3), ("/a/b", 4), ("/a/?x=", 6), ("/a?x=/", 6), ("/.json", 1)] {
            assert_eq!(check(path, &[at]), Ok(()), "{path} at {at}");
        }
    }
}
