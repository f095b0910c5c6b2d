//! Tasks for strangers, a bounded number of them: the oldest makes room for the newest, so that a
//! flood of silent connections keeps nobody out.

use std::collections::VecDeque;
use tokio::task::AbortHandle;

/// The newest tasks. They end when it is dropped.
pub(crate) struct Recent {
    limit: usize,
    tasks: VecDeque<AbortHandle>,
}

impl Recent {
    /// At most `limit` tasks.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            tasks: VecDeque::new(),
        }
    }

    /// Takes a task in; ends the oldest one when there are too many.
    pub(crate) fn add(&mut self, task: AbortHandle) {
        if self.tasks.len() >= self.limit {
            self.tasks.retain(|task| !task.is_finished());
        }
        if self.tasks.len() >= self.limit
            && let Some(oldest) = self.tasks.pop_front()
        {
            oldest.abort();
        }
        self.tasks.push_back(task);
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_and_what_has_ended_takes_none() {
        let mut recent = Recent::new(2);
        let forever = || tokio::spawn(std::future::pending::<()>());
        let first = forever();
        recent.add(first.abort_handle());
        let done = tokio::spawn(async {});
        let ended = done.abort_handle();
        done.await.expect("it ends");
        recent.add(ended);
        let third = forever();
        recent.add(third.abort_handle());
        tokio::task::yield_now().await;
        assert!(!first.is_finished());
        recent.add(forever().abort_handle());
        assert!(first.await.expect_err("it made room").is_cancelled());
        drop(recent);
        assert!(
            third
                .await
                .expect_err("it ended with the rest")
                .is_cancelled()
        );
    }
}
