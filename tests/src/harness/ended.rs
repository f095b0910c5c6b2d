//! Programs that a test started beside the daemon.

use std::process::Child;

/// A process that ends with the test, also when the test fails.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
