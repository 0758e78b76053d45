mod api;
mod codecs;
mod hostile;
mod samples;
