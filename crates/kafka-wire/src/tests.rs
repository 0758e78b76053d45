//! The codecs against another implementation, and against hostile bytes.

mod api;
mod clients;
mod codecs;
mod hostile;
mod samples;
