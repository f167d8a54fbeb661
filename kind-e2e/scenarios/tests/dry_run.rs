//! `kind-e2e/run.sh` where there is no docker: with programs on PATH that write down how they are called and play back what is
//! plausible (`fakes/tool`). What is proved is the order of what is done, that what was made is removed whatever fails, and
//! the reports; not that the real programs understand it.

#![allow(clippy::unwrap_used, reason = "a test's helpers panic like the test itself")]

mod dry_run {
    mod endings;
    mod order;
    mod preflight;
    mod run;
    mod scripts;
}
