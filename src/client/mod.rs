//! The HTTPS client.
