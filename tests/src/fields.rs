//! Packets, field by field.

/// Reads fields of a packet; panics when there are too few bytes, as the packet is then malformed.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self
            .0
            .split_at_checked(n)
            .unwrap_or_else(|| panic!("a packet is too short: {:?}", self.0));
        self.0 = rest;
        head
    }
    pub(crate) fn int(&mut self, n: usize) -> u64 {
        self.take(n)
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | u64::from(*byte))
    }
    pub(crate) fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }
    pub(crate) fn u16(&mut self) -> u16 {
        self.int(2) as u16
    }
    pub(crate) fn u32(&mut self) -> u32 {
        self.int(4) as u32
    }
    pub(crate) fn lenenc(&mut self) -> u64 {
        match self.u8() {
            0xFC => self.int(2),
            0xFD => self.int(3),
            0xFE => self.int(8),
            small => u64::from(small),
        }
    }
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let n = self.lenenc();
        self.take(usize::try_from(n).unwrap())
    }
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
    pub(crate) fn cell(&mut self) -> Option<Vec<u8>> {
        if self.0.first() == Some(&0xFB) {
            self.take(1);
            return None;
        }
        Some(self.bytes().to_vec())
    }
    pub(crate) fn until_nul(&mut self) -> &'a [u8] {
        let n = self.0.iter().position(|b| *b == 0).expect("a NUL");
        let text = self.take(n);
        self.take(1);
        text
    }
}
