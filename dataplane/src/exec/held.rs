//! Bytes that the statements of this core hold together. A core is one thread, so that its count is
//! the thread's own.
use super::ExecError;
use std::cell::Cell;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MAX: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Sets what this core may hold.
pub(crate) fn limit(bytes_max: usize) {
    MAX.set(bytes_max);
}

/// What it holds now.
pub(crate) fn held() -> usize {
    HELD.get()
}

/// A statement's part of it, which is given back with it.
#[derive(Debug, Default)]
pub(crate) struct Held(usize);

impl Held {
    /// Takes so many bytes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), ExecError> {
        let all = HELD.get().saturating_add(bytes);
        if all > MAX.get() {
            return Err(ExecError::CoreMemory(MAX.get()));
        }
        HELD.set(all);
        self.0 += bytes;
        Ok(())
    }

    /// Holds so many bytes in all.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), ExecError> {
        match bytes.checked_sub(self.0) {
            Some(more) => self.grow(more),
            None => {
                HELD.set(HELD.get().saturating_sub(self.0 - bytes));
                self.0 = bytes;
                Ok(())
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(HELD.get().saturating_sub(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        limit(100);
        let before = held();
        let (mut one, mut two) = (Held::default(), Held::default());
        one.grow(60).unwrap();
        two.grow(40).unwrap();
        assert!(matches!(two.grow(1), Err(ExecError::CoreMemory(100))));
        one.set(10).unwrap();
        two.grow(50).unwrap();
        drop(one);
        assert_eq!(held(), before + 90);
        drop(two);
        assert_eq!(held(), before);
        limit(usize::MAX);
    }
}
