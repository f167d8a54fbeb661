mod datagrams;
mod keys;
mod membership;
mod net;
mod records;
