//! The API at whichever server answers.

use super::choice::Choice;
use super::forward::told;
use super::pool::Pool;
use super::{REQUEST_LIMIT, RETRY_LIMIT};
use futures::FutureExt;
use futures::future::BoxFuture;
use kabuki_model::StatusError;
use kabuki_model::request::{Answer, Request};
use kabuki_model::status::Reason;
use kabuki_model::watch::WatchRequest;
use kabuki_protocol::client::{Client, Failure};
use kabuki_protocol::{Api, Watch, session};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When every server failed, the first wait before all are tried again; it doubles each round.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

pub(super) struct RemoteApi {
    pool: Arc<Pool>,
    choice: Arc<Choice>,
}

/// Whether a request may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It changes nothing.
    Always,
    /// Only when it is certain that nothing was done.
    IfUndone,
}

impl Repeat {
    /// Whether another server may be asked after this failure.
    fn after(self, failure: &Failure) -> bool {
        match failure {
            Failure::NotSent(_) => true,
            Failure::Lost(_) => self == Self::Always,
            Failure::Refused(error) if error.is_undone() => true,
            Failure::Refused(error) => {
                self == Self::Always && error.reason == Reason::ServiceUnavailable
            }
        }
    }

    /// A failure as the caller hears it.
    fn told(self, server: &str, failure: Failure) -> StatusError {
        match (self, failure) {
            // Of what changes nothing, there is no outcome to doubt.
            (Self::Always, Failure::Lost(why)) => StatusError::unavailable(why),
            (_, failure) => told(server, failure),
        }
    }
}

type Ask<T> = Box<dyn Fn(Client) -> BoxFuture<'static, Result<T, Failure>> + Send + Sync>;

impl RemoteApi {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            choice: Arc::default(),
        }
    }

    /// Asks one server after another something that may be asked twice.
    pub(super) async fn anywhere<T>(&self, ask: Ask<T>) -> Result<T, StatusError> {
        let (answer, _) = self.attempts(ask, Repeat::Always).await?;
        Ok(answer)
    }

    /// Asks one server after another until one answers, a failure is final, or time is up. Gives the server that answered, too.
    async fn attempts<T>(&self, ask: Ask<T>, repeat: Repeat) -> Result<(T, String), StatusError> {
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        let mut last = StatusError::unavailable("no server of the cluster is known");
        loop {
            for server in self.choice.order(&self.pool) {
                let left = REQUEST_LIMIT.saturating_sub(begun.elapsed());
                let failure = match self.attempt(&ask, &server, left).await {
                    Ok(answer) => return Ok((answer, server)),
                    Err(failure) => failure,
                };
                let elsewhere = repeat.after(&failure);
                last = repeat.told(&server, failure);
                if !elsewhere {
                    return Err(last);
                }
                tracing::debug!(server, error = %last, "a server is passed over");
                if begun.elapsed() >= RETRY_LIMIT {
                    return Err(last);
                }
            }
            if begun.elapsed() + wait >= RETRY_LIMIT {
                return Err(last);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Asks one server, and remembers how it went.
    async fn attempt<T>(&self, ask: &Ask<T>, server: &str, limit: Duration) -> Result<T, Failure> {
        let attempt = async {
            let client = self.pool.client(server, session::ALPN).await;
            ask(client.map_err(Failure::NotSent)?).await
        };
        let outcome = tokio::time::timeout(limit, attempt)
            .await
            .unwrap_or_else(|_| Err(Failure::Lost("it did not answer in time".to_string())));
        match &outcome {
            Err(Failure::NotSent(_) | Failure::Lost(_)) => self.choice.bad(server),
            Err(Failure::Refused(error)) if error.reason == Reason::ServiceUnavailable => {
                self.choice.bad(server);
            }
            Ok(_) | Err(Failure::Refused(_)) => self.choice.good(server),
        }
        outcome
    }
}

impl Api for RemoteApi {
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Answer, StatusError>> {
        let repeat = match &request {
            Request::Get { .. } | Request::List(_) => Repeat::Always,
            _ => Repeat::IfUndone,
        };
        let ask: Ask<Answer> = Box::new(move |client| {
            let request = request.clone();
            async move { client.try_request(request).await }.boxed()
        });
        Box::pin(async move {
            let (answer, _) = self.attempts(ask, repeat).await?;
            Ok(answer)
        })
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>> {
        let ask: Ask<Watch> = Box::new(move |client| {
            let request = request.clone();
            async move { client.watch(request).await.map_err(Failure::Refused) }.boxed()
        });
        Box::pin(async move {
            let (watch, server) = self.attempts(ask, Repeat::Always).await?;
            // Its failures come as its last event: the next watch begins elsewhere.
            let choice = self.choice.clone();
            let events = futures::stream::unfold(watch, move |mut watch| {
                let (choice, server) = (choice.clone(), server.clone());
                async move {
                    let event = watch.next().await?;
                    if matches!(&event, Err(e) if e.reason == Reason::ServiceUnavailable) {
                        choice.bad(&server);
                    }
                    Some((event, watch))
                }
            });
            Ok(Watch::from_stream(events))
        })
    }
}
