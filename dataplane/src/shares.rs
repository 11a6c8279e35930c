//! Vitess's transaction limiter: the share of a core's connections that the transactions of one
//! user may hold, so that one application leaves some to the others.
use ahash::AHashMap;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

type Open = Rc<Cell<usize>>;

/// How many transactions of each user are open on a core.
#[derive(Default)]
pub(crate) struct Shares {
    users: RefCell<AHashMap<Box<[u8]>, Open>>,
}

/// One open transaction of a user; it is over when this is dropped.
pub(crate) struct Share {
    open: Open,
}

impl Shares {
    /// # Errors
    /// The user has so many open already.
    pub(crate) fn take(&self, user: &[u8], max: usize) -> Result<Share, usize> {
        let mut users = self.users.borrow_mut();
        if !users.contains_key(user) {
            users.retain(|_, open| open.get() > 0);
            users.insert(user.into(), Rc::default());
        }
        let open = users.get(user).map(Rc::clone).unwrap_or_default();
        match open.get() {
            many if many >= max => Err(many),
            few => {
                open.set(few + 1);
                Ok(Share { open })
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.open.set(self.open.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_share() {
        let shares = Shares::default();
        let one = shares.take(b"a", 2).ok().unwrap();
        let _two = shares.take(b"a", 2).ok().unwrap();
        assert_eq!(shares.take(b"a", 2).err(), Some(2));
        let _other = shares.take(b"b", 2).ok().unwrap();
        drop(one);
        assert!(shares.take(b"a", 2).is_ok());
    }
}
