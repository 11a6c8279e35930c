//! Buffers that the kernel fills: a connection owns none until bytes arrive for it.
use crate::error::StartError;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

/// A buffer that is less than one part in so many full is not worth keeping for long.
const SPARSE: usize = 4;

/// Bytes that came from a socket or go to one: a buffer of the core's pool, which goes back when
/// this is dropped, or a vector. Derefs to the bytes not yet consumed.
pub struct Buf {
    data: Data,
    start: u32,
    end: u32,
}

enum Data {
    Pooled { group: Rc<BufferGroup>, id: u16 },
    Heap(Vec<u8>),
}

impl Buf {
    /// Drops `n` bytes from the front.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start as usize + n).min(self.end as usize) as u32;
    }

    /// Drops what follows the first `n` bytes.
    pub fn truncate(&mut self, n: usize) {
        self.end = (self.start as usize + n).min(self.end as usize) as u32;
    }

    /// The bytes, to patch sequence ids and statement ids in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.start as usize, self.end as usize);
        match &mut self.data {
            Data::Heap(bytes) => bytes.get_mut(start..end).unwrap_or_default(),
            Data::Pooled { group, id } => {
                // SAFETY: this `Buf` is the buffer's only owner until it is dropped, and
                // `start..end` lies inside it.
                unsafe {
                    std::slice::from_raw_parts_mut(
                        group.address(*id).as_ptr().add(start),
                        end - start,
                    )
                }
            }
        }
    }

    /// The same bytes in memory of their own; the core has its buffer back.
    pub(super) fn into_heap(self) -> Self {
        match self.data {
            Data::Heap(_) => self,
            Data::Pooled { .. } => Self::from(self.to_vec()),
        }
    }

    /// As [`Self::into_heap`] where most of the buffer is empty.
    pub(super) fn into_small(self) -> Self {
        let sparse =
            matches!(&self.data, Data::Pooled { group, .. } if self.len() <= group.size / SPARSE);
        if sparse { self.into_heap() } else { self }
    }

    /// Did the kernel fill the whole buffer? Then more is probably waiting.
    pub(super) fn is_full(&self) -> bool {
        matches!(&self.data, Data::Pooled { group, .. } if self.end as usize == group.size)
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (start, end) = (self.start as usize, self.end as usize);
        match &self.data {
            Data::Heap(bytes) => bytes.get(start..end).unwrap_or_default(),
            Data::Pooled { group, id } => {
                // SAFETY: as in `bytes_mut`; the kernel has written `end` bytes and will not touch
                // the buffer again.
                unsafe {
                    std::slice::from_raw_parts(group.address(*id).as_ptr().add(start), end - start)
                }
            }
        }
    }
}

impl From<Vec<u8>> for Buf {
    fn from(bytes: Vec<u8>) -> Self {
        let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { data: Data::Heap(bytes), start: 0, end }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if let Data::Pooled { group, id } = &self.data {
            group.give_back(*id);
        }
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} bytes)", self.len())
    }
}

/// Buffers of one size. The kernel takes them from a ring that is registered with it; where it
/// knows no such rings, a receive names the buffer itself.
pub(super) struct BufferGroup {
    pub(super) id: u16,
    pub(super) size: usize,
    most: u16,
    lending: Lending,
    /// Buffers that may be taken now.
    free: Cell<u16>,
    /// Grown batch by batch up to the ring's size; freed with the core.
    chunks: RefCell<Vec<(NonNull<u8>, Layout)>>,
    batch: u16,
    addresses: RefCell<Vec<NonNull<u8>>>,
}

/// Where free buffers lie.
enum Lending {
    Ring { entries: NonNull<BufRingEntry>, tail: Cell<u16> },
    Own(RefCell<Vec<u16>>),
}

impl BufferGroup {
    /// Buffers that the kernel picks: `(size, at first, at most)`; the last is a power of two.
    pub(super) fn register(
        uring: &IoUring,
        id: u16,
        (size, batch, most): (usize, u16, u16),
    ) -> Result<Self, StartError> {
        let layout = ring_layout(most);
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(entries) = NonNull::new(memory.cast::<BufRingEntry>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the memory is page-aligned, holds `most` entries, and lives as long as the ring:
        // both belong to the core.
        unsafe {
            uring
                .submitter()
                .register_buf_ring_with_flags(entries.as_ptr() as u64, most, id, 0)
        }
        .map_err(|e| {
            // SAFETY: allocated above with this layout; the kernel has not taken it.
            unsafe { dealloc(memory, layout) };
            StartError::IoUring(format!("the kernel refuses a ring of receive buffers: {e}"))
        })?;
        Ok(Self::new(id, (size, batch, most), Lending::Ring { entries, tail: Cell::new(0) }))
    }

    /// Buffers that receives name themselves, for kernels without rings of them.
    pub(super) fn own(id: u16, sizes: (usize, u16, u16)) -> Self {
        Self::new(id, sizes, Lending::Own(RefCell::default()))
    }

    fn new(id: u16, (size, batch, most): (usize, u16, u16), lending: Lending) -> Self {
        let group = Self {
            id,
            size,
            most,
            lending,
            free: Cell::new(0),
            chunks: RefCell::default(),
            batch,
            addresses: RefCell::default(),
        };
        group.grow();
        group
    }

    /// Adds a batch of buffers; `false` when the bound is reached.
    pub(super) fn grow(&self) -> bool {
        let have = self.addresses.borrow().len();
        let room = usize::from(self.most) - have;
        let count = usize::from(self.batch).min(room);
        if count == 0 {
            return false;
        }
        let Ok(layout) = Layout::from_size_align(count * self.size, 4096) else { return false };
        // SAFETY: the layout is not empty. Zeroed memory comes untouched from the system: it costs
        // nothing before it is used.
        let Some(chunk) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { return false };
        self.chunks.borrow_mut().push((chunk, layout));
        for i in 0..count {
            // SAFETY: inside the chunk.
            let address = unsafe { chunk.add(i * self.size) };
            self.addresses.borrow_mut().push(address);
            self.give_back((have + i) as u16);
        }
        true
    }

    pub(super) fn free(&self) -> usize {
        usize::from(self.free.get())
    }

    fn address(&self, id: u16) -> NonNull<u8> {
        self.addresses.borrow()[usize::from(id)]
    }

    /// Takes over a buffer that a completion names, with `len` bytes in it.
    pub(super) fn take(self: &Rc<Self>, id: u16, len: usize) -> Buf {
        self.free.set(self.free.get().saturating_sub(1));
        assert!(len <= self.size, "the kernel wrote past a buffer");
        Buf { data: Data::Pooled { group: Rc::clone(self), id }, start: 0, end: len as u32 }
    }

    /// A whole buffer to receive into; `None` when there is none at the moment or the kernel does
    /// the picking.
    pub(super) fn lend(self: &Rc<Self>) -> Option<Buf> {
        let Lending::Own(ids) = &self.lending else { return None };
        let id = ids.borrow_mut().pop()?;
        Some(self.take(id, self.size))
    }

    fn give_back(&self, id: u16) {
        self.free.set(self.free.get() + 1);
        let (entries, tail_cell) = match &self.lending {
            Lending::Own(ids) => return ids.borrow_mut().push(id),
            Lending::Ring { entries, tail } => (*entries, tail),
        };
        let tail = tail_cell.get();
        let address = self.address(id).as_ptr() as u64;
        // SAFETY: the index is masked to the ring's entries; the kernel reads an entry only after
        // the tail has passed it.
        let entry = unsafe { &mut *entries.as_ptr().add(usize::from(tail & (self.most - 1))) };
        entry.set_addr(address);
        entry.set_len(self.size as u32);
        entry.set_bid(id);
        let tail = tail.wrapping_add(1);
        tail_cell.set(tail);
        // SAFETY: the tail lies in the first entry of the ring; the release store makes the entry
        // visible before it.
        unsafe {
            (*BufRingEntry::tail(entries.as_ptr()).cast::<AtomicU16>())
                .store(tail, Ordering::Release)
        };
    }
}

fn ring_layout(entries: u16) -> Layout {
    let bytes = usize::from(entries) * size_of::<BufRingEntry>();
    Layout::from_size_align(bytes, 4096).unwrap_or(Layout::new::<BufRingEntry>())
}

impl Drop for BufferGroup {
    fn drop(&mut self) {
        for (chunk, layout) in self.chunks.borrow_mut().drain(..) {
            // SAFETY: allocated with this layout; every `Buf` holds a reference to the group, so
            // none is left.
            unsafe { dealloc(chunk.as_ptr(), layout) };
        }
        if let Lending::Ring { entries, .. } = &self.lending {
            // SAFETY: allocated with this layout. The ring is closed before its groups are dropped
            // (field order in `RingInner`).
            unsafe { dealloc(entries.as_ptr().cast(), ring_layout(self.most)) };
        }
    }
}
