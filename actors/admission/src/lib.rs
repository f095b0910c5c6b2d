//! Who may do what, and what becomes of a request: a pure function from the state at one
//! revision, the caller and the request to a verdict. Time and entropy are arguments.
//!
//! | module | what |
//! |---|---|
//! | [`authorize`] | whether a caller may do something |
//! | [`review`](mod@review) | answers who somebody is and what somebody may do |
//! | [`read`] | answers gets and lists from a view |
//! | [`admit`](mod@admit) | turns a write into a command, or refuses it with every cause |
//! | [`commit`] | what the store's reply to that command means for the caller |

pub mod admit;
pub mod authorize;
pub mod commit;
pub mod read;
pub mod review;

mod draft;
mod write;

pub use admit::{Context, Verdict, admit};
pub use authorize::{
    Attributes, allowance, authorize, authorize_path, authorize_request, only_node, path_allowance,
};
pub use commit::{Commit, Completed, complete};
pub use read::read;
pub use review::review;
