//! BGP: tells routers that this node takes the traffic of its VIPs.

pub mod fsm;
pub mod io;
pub mod rib;
pub mod wire;
