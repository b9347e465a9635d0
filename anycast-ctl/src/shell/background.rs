//! Work that takes long and that nobody waits for as he waits for the loop: it has a thread of its own, of lower
//! priority. Where a machine has no processor to spare, the loop would otherwise share one with it evenly.

use nix::{errno::Errno, libc};
use tokio::task::{JoinHandle, spawn_blocking};

/// A quarter of the time of a processor that the loop needs as well (`sched(7)`), and all of it otherwise. With less, a
/// reading that an ICMPv6 error has called for might come too late where a processor is busy.
const NICE: libc::c_int = 5;

/// Has a thread do the work.
pub(super) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_blocking(move || {
        // On Linux each thread has a nice value. That of a thread of the pool stays, since raising a priority needs
        // CAP_SYS_NICE; others that use the pool, for files and names, have no hurry either.
        // SAFETY: no pointers.
        let set = unsafe {
            let now = libc::getpriority(libc::PRIO_PROCESS, 0);
            libc::setpriority(libc::PRIO_PROCESS, 0, NICE.max(now))
        };
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
