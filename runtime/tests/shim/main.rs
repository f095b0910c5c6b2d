//! The shim with real containers, made of a static busybox. Needs root and a static `busybox`
//! in `/bin`; every test has a pod, a cgroup and a directory of its own.

mod adoption;
mod confinement;
mod isolation;
mod lifecycle;
mod pod;
mod streams;
mod users;
