//! A lab: the unit a test or a demo makes, and the source of unique names.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use anyhow::ensure;

use crate::namespace::Namespace;
use crate::{Bridge, Node, Result, enter, leftovers};

/// Interface names have 15 characters; `n1-eth0` has to fit at the bridge.
const LONGEST_NAME: usize = 10;

/// A set of machines and switches that know only each other. Labs of one process, and of
/// processes running at once, do not meet.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
}

impl Lab {
    /// A fresh lab. `name` (a few letters, digits) is for people who list namespaces.
    ///
    /// # Errors
    /// Without the privilege to make namespaces; the text says how to get it.
    pub fn new(name: &str) -> Result<Self> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        check_name(name)?;
        enter::require()?;
        leftovers::sweep();
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{}-{number}{name}", leftovers::prefix());
        Ok(Self { prefix })
    }

    /// A switch: a bridge without spanning tree, in a namespace of its own.
    ///
    /// # Errors
    /// On a name in use in this lab or longer than 10 characters.
    pub fn bridge(&self, name: &str) -> Result<Bridge> {
        Bridge::create(self.namespace(name)?)
    }

    /// A machine without any link but `lo`, which is up.
    ///
    /// # Errors
    /// On a name in use in this lab or longer than 10 characters.
    pub fn node(&self, name: &str) -> Result<Node> {
        /// Over all labs: no two nodes have the same Ethernet address.
        static NODES: AtomicU16 = AtomicU16::new(1);
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        Node::create(name, number, self.namespace(name)?)
    }

    fn namespace(&self, name: &str) -> Result<Namespace> {
        check_name(name)?;
        Namespace::create(format!("{}-{name}", self.prefix))
    }
}

fn check_name(name: &str) -> Result<()> {
    ensure!(
        (1..=LONGEST_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
        "{name:?}: names in the lab are 1 to {LONGEST_NAME} letters, digits and hyphens"
    );
    Ok(())
}
