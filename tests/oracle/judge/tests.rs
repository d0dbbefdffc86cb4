//! Made-up histories: each rule finds what breaks it, and nothing in one where all is well.
