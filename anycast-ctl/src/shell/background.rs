//! Work that takes long and that nobody waits for as he waits for the loop: it has a thread of its own, of lower
//! priority. Where a machine has no processor to spare, the loop would otherwise share one with it evenly.

use nix::{errno::Errno, libc};
use tokio::task::{JoinHandle, spawn_blocking};

/// A tenth of the time of a processor that the loop needs as well (`sched(7)`), and all of it otherwise.
const NICE: libc::c_int = 10;

/// Has a thread do the work.
pub(super) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_blocking(move || {
        // On Linux each thread has a nice value. That of a thread of the pool stays, since raising a priority needs
        // CAP_SYS_NICE.
        // SAFETY: no pointers.
        let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        if let Err(error) = Errno::result(set) {
            tracing::debug!(%error, "a thread keeps the priority of the loop");
        }
        work()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice() -> libc::c_int {
        // SAFETY: as above.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[tokio::test]
    async fn the_loop_has_more_of_a_processor() {
        let before = nice();
        assert_eq!(spawn(nice).await.unwrap(), before.max(NICE));
        assert_eq!(nice(), before);
    }
}
