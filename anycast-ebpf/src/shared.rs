//! Sections of the object that the controller, or other programs, write while programs read them.

use core::{cell::UnsafeCell, mem::MaybeUninit};

/// A value that others write while programs read it, in whole words.
#[repr(transparent)]
pub(crate) struct Shared<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: it is read and written in words, and any mixture of old and new words is valid.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) const fn zero() -> Self {
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> *mut T {
        self.0.get().cast()
    }
}
