//! What lies between nodes, over real sockets: the port, joining, calls to other nodes, renewal,
//! discovery.

#[path = "between_nodes/api_server.rs"]
mod api_server;
#[path = "between_nodes/discovery.rs"]
mod discovery;
#[path = "between_nodes/join.rs"]
mod join;
#[path = "between_nodes/members.rs"]
mod members;
#[path = "between_nodes/port.rs"]
mod port;
#[path = "between_nodes/remote.rs"]
mod remote;
#[path = "between_nodes/renewal.rs"]
mod renewal;
#[path = "between_nodes/world.rs"]
mod world;
