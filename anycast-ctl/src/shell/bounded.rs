//! Messages that wait for somebody, and are bounded in number and in octets: a thousand long ones must not fill the
//! memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// The end that never waits.
#[derive(Debug)]
pub(super) struct Sender<T> {
    messages: mpsc::Sender<(T, OwnedSemaphorePermit)>,
    /// The octets that there is room for.
    octets: Arc<Semaphore>,
}

/// The end that takes.
#[derive(Debug)]
pub(super) struct Receiver<T>(mpsc::Receiver<(T, OwnedSemaphorePermit)>);

/// A queue for so many messages of so many octets.
pub(super) fn bounded<T>(messages: usize, octets: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(messages);
    let sender = Sender {
        messages: sender,
        octets: Arc::new(Semaphore::new(octets)),
    };
    (sender, Receiver(receiver))
}

impl<T> Sender<T> {
    /// Puts a message of so many octets into the queue. Gives whether there is room for it; it is not made otherwise.
    pub(super) fn send(&self, octets: usize, message: impl FnOnce() -> T) -> bool {
        let Ok(octets) = u32::try_from(octets) else {
            return false;
        };
        let permit = Arc::clone(&self.octets).try_acquire_many_owned(octets);
        permit.is_ok_and(|permit| self.messages.try_send((message(), permit)).is_ok())
    }

    /// Messages that wait.
    pub(super) fn backlog(&self) -> usize {
        self.messages.max_capacity() - self.messages.capacity()
    }
}

impl<T> Receiver<T> {
    /// The next message, when there is one. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<T> {
        self.0.recv().await.map(|(message, _)| message)
    }

    /// The next message, if there is one.
    pub(super) fn more(&mut self) -> Option<T> {
        self.0.try_recv().ok().map(|(message, _)| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_in_number_and_in_octets_until_it_is_taken() {
        let (sender, mut receiver) = bounded(3, 1000);
        let sent = [400, 600, 1].map(|octets| sender.send(octets, || octets));
        assert_eq!(sent, [true, true, false]);
        assert_eq!((sender.backlog(), receiver.more()), (2, Some(400)));
        let sent = [401, 399, 1].map(|octets| sender.send(octets, || octets));
        // The third one is the fourth that waits.
        assert_eq!(sent, [false, true, true]);
        assert!(!sender.send(0, || 0));
        let taken: Vec<_> = std::iter::from_fn(|| receiver.more()).collect();
        assert_eq!(taken, [600, 399, 1]);
        assert!(sender.send(1000, || 1000));
        assert!(!sender.send(usize::MAX, || 0));
    }
}
