mod api;
mod clients;
mod codecs;
mod hostile;
mod samples;
