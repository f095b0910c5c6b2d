//! Names. So far: what a pod's `/etc/resolv.conf` says.

pub mod resolv_conf;
