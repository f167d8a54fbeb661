//! Which program of this machine an image stands for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;

use super::super::recipes;
use crate::Result;

/// What runs for which image. An image is named without registry, tag and digest, such as
/// `gateway-api/echo-basic`.
#[derive(Clone, Debug, Default)]
pub struct Images {
    programs: BTreeMap<String, Image>,
}

/// What runs in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// The entrypoint.
    Program(PathBuf),
    /// No process; ready at once.
    Nothing,
}

impl Images {
    /// Of none: a container with any image waits, as for one that cannot be pulled.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of the conformance tests of Gateway API: its `echo-basic`, and CoreDNS. Both are built
    /// once.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn of_conformance() -> Result<Self> {
        let echo = recipes::conformance("echo-basic")?;
        let dns = recipes::coredns()?;
        Ok(Self::none().program("gateway-api/echo-basic", echo).program("coredns/coredns", dns))
    }

    /// Runs `program` as the entrypoint of `image`.
    #[must_use]
    pub fn program(mut self, image: &str, program: impl Into<PathBuf>) -> Self {
        self.programs.insert(image.to_owned(), Image::Program(program.into()));
        self
    }

    /// Runs nothing for `image`, and has it ready.
    #[must_use]
    pub fn nothing(mut self, image: &str) -> Self {
        self.programs.insert(image.to_owned(), Image::Nothing);
        self
    }

    pub(super) fn get(&self, image: &str) -> Result<&Image> {
        let name = name_of(image);
        self.programs.get(name).with_context(|| format!("the lab has nothing for image {name}"))
    }
}

/// Without the registry, which has a dot or a port, and without tag and digest.
fn name_of(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let name = match image.split_once('/') {
        Some((registry, rest)) if registry.contains(['.', ':']) || registry == "localhost" => rest,
        _ => image,
    };
    name.split_once(':').map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests;
