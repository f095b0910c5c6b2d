//! One delayed message at a time, for actors that know when they next have something to do.
//!
//! Setting an alarm replaces the former one, and dropping the alarm (with the actor's state)
//! cancels it, so that no message of a former incarnation arrives. A message that is already in
//! the mailbox when the alarm is set anew still arrives: a wake-up must be harmless when early.

use ractor::{ActorRef, Message};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A single timer that sends its owner a message.
#[derive(Debug, Default)]
pub struct Alarm {
    set: Option<(Instant, JoinHandle<()>)>,
}

impl Alarm {
    /// An alarm that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `message` to `actor` at `at`, unless set anew or cleared before. Setting it to the
    /// time for which it is set already costs nothing.
    pub fn set<M: Message>(&mut self, at: std::time::Instant, actor: &ActorRef<M>, message: M) {
        let at = Instant::from_std(at);
        if self
            .set
            .as_ref()
            .is_some_and(|(set, task)| *set == at && !task.is_finished())
        {
            return;
        }
        self.clear();
        let actor = actor.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            // An actor that is gone needs no waking.
            let _ = actor.send_message(message);
        });
        self.set = Some((at, task));
    }

    /// Cancels it.
    pub fn clear(&mut self) {
        if let Some((_, task)) = self.set.take() {
            task.abort();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ractor::{Actor, ActorProcessingErr};
    use ractor_cluster::RactorMessage;
    use tokio::sync::mpsc;

    use super::*;

    struct Sleeper;

    #[derive(RactorMessage)]
    struct Wake(u32);

    impl Actor for Sleeper {
        type Msg = Wake;
        type State = mpsc::UnboundedSender<u32>;
        type Arguments = Self::State;

        async fn pre_start(
            &self,
            _myself: ActorRef<Wake>,
            heard: Self::State,
        ) -> Result<Self::State, ActorProcessingErr> {
            Ok(heard)
        }

        async fn handle(
            &self,
            _myself: ActorRef<Wake>,
            Wake(number): Wake,
            heard: &mut Self::State,
        ) -> Result<(), ActorProcessingErr> {
            Ok(heard.send(number)?)
        }
    }

    #[tokio::test]
    async fn only_the_last_setting_rings_and_a_dropped_alarm_does_not() {
        let (heard, mut rings) = mpsc::unbounded_channel();
        let (actor, join) = Actor::spawn(None, Sleeper, heard).await.expect("it starts");
        let soon = Instant::now() + Duration::from_millis(20);
        let (mut alarm, mut dropped) = (Alarm::new(), Alarm::new());
        alarm.set(soon, &actor, Wake(1));
        dropped.set(soon, &actor, Wake(2));
        drop(dropped);
        alarm.set(soon + Duration::from_millis(20), &actor, Wake(3));
        assert_eq!(rings.recv().await, Some(3));
        alarm.set(Instant::now(), &actor, Wake(4));
        assert_eq!(rings.recv().await, Some(4));
        actor.stop(None);
        join.await.expect("no panic");
        assert_eq!(rings.recv().await, None, "nothing else rang");
    }
}
