//! The two pages that a vCPU shares with its monitor: [`RunPage`]. The monitor
//! may write them at any time, so every field is read once and believed never.

use abi::Errno;
use abi::kvm_run::{self, Header, PIO_DATA, offset};
use hal::mem::{Account, Frame, PAGE_SIZE};
use zerocopy::{Immutable, IntoBytes};

/// The shared pages.
pub struct RunPage {
    run: Frame,
    data: Frame,
}

impl RunPage {
    /// Zeroed pages.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(account: &Account) -> Result<Self, Errno> {
        let frame = || Frame::zeroed(account).map_err(|_| Errno::ENOMEM);
        Ok(RunPage {
            run: frame()?,
            data: frame()?,
        })
    }

    /// Page `index` of the mapping.
    #[must_use]
    pub fn frame(&self, index: u64) -> Option<Frame> {
        match index {
            0 => Some(self.run.clone()),
            1 => Some(self.data.clone()),
            _ => None,
        }
    }

    /// The four bytes at the start: window request and immediate exit.
    #[inline]
    #[must_use]
    pub fn requests(&self) -> Requests {
        let word = self.run.read_u32(0);
        Requests {
            window: word & 0xFF != 0,
            immediate_exit: word & 0xFF00 != 0,
        }
    }

    /// What the monitor set CR8 to.
    #[inline]
    #[must_use]
    pub fn task_priority(&self) -> u64 {
        self.run.read_u64(offset::CR8)
    }

    /// Writes the fields that every exit writes.
    #[inline]
    pub fn set_header(&self, header: &Header) {
        // Three stores: the copy of a slice costs more.
        let flags = u64::from(header.exit_reason)
            | u64::from(header.ready_for_interrupt_injection) << 32
            | u64::from(header.if_flag) << 40
            | u64::from(header.flags) << 48;
        self.run.write_u64(offset::EXIT_REASON, flags);
        self.run.write_u64(offset::CR8, header.cr8);
        self.run.write_u64(offset::APIC_BASE, header.apic_base);
    }

    /// Writes the exit record.
    #[inline]
    pub fn set_record(&self, record: &(impl IntoBytes + Immutable)) {
        self.run.write(offset::EXIT, record.as_bytes());
    }

    /// Writes a port access' record and, for OUT, its data: the quick form for
    /// one access of at most 8 bytes.
    #[inline]
    pub fn set_port_access(&self, record: &kvm_run::Io, data: u64) {
        let word = u64::from(record.direction)
            | u64::from(record.size) << 8
            | u64::from(record.port) << 16
            | u64::from(record.count) << 32;
        self.run.write_u64(offset::EXIT, word);
        self.run.write_u64(offset::EXIT + 8, record.data_offset);
        self.data.write_u64(0, data);
    }

    /// The data of a port access of at most 8 bytes.
    #[inline]
    #[must_use]
    pub fn port_data(&self) -> u64 {
        self.data.read_u64(0)
    }

    /// Copies from the port data page.
    pub fn read_data(&self, bytes: &mut [u8]) {
        self.data.read(0, bytes);
    }

    /// Copies to the port data page.
    pub fn write_data(&self, bytes: &[u8]) {
        self.data.write(0, bytes);
    }

    /// Writes an MMIO access' record.
    #[inline]
    pub fn set_mmio(&self, address: u64, data: u64, length: u8, is_write: bool) {
        self.run.write_u64(offset::EXIT, address);
        self.run.write_u64(offset::MMIO_DATA, data);
        let tail = u64::from(length) | u64::from(is_write) << 32;
        self.run.write_u64(offset::EXIT + 16, tail);
    }

    /// What the monitor answered to an MMIO read.
    #[inline]
    #[must_use]
    pub fn mmio_data(&self) -> u64 {
        self.run.read_u64(offset::MMIO_DATA)
    }
}

const _: () = assert!(
    PIO_DATA == PAGE_SIZE,
    "the data of port accesses fills the second page"
);

/// What the monitor asks for at an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Exit when an interrupt can be taken.
    pub window: bool,
    /// Do not run the guest.
    pub immediate_exit: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::kvm::exit;
    use abi::kvm_run::{Io, Mmio};
    use zerocopy::FromBytes;

    #[test]
    fn quick_forms_equal_the_layouts() {
        let page = RunPage::new(&Account::kernel()).unwrap();
        let record = Io {
            direction: 1,
            size: 2,
            port: 0x3F8,
            count: 1,
            data_offset: 4096,
        };
        page.set_port_access(&record, 0xABCD);
        let mut bytes = [0; 16];
        page.frame(0).unwrap().read(offset::EXIT, &mut bytes);
        assert_eq!(Io::read_from_bytes(&bytes).unwrap(), record);
        assert_eq!(page.port_data(), 0xABCD);

        page.set_mmio(0xFEC0_0000, 7, 4, true);
        let mut bytes = [0; 24];
        page.frame(0).unwrap().read(offset::EXIT, &mut bytes);
        let found = Mmio::read_from_bytes(&bytes).unwrap();
        assert_eq!(
            (found.phys_addr, found.len, found.is_write),
            (0xFEC0_0000, 4, 1)
        );

        let header = Header {
            exit_reason: exit::HLT,
            ready_for_interrupt_injection: 1,
            if_flag: 1,
            flags: 2,
            cr8: 3,
            apic_base: 4,
        };
        page.set_header(&header);
        let mut bytes = [0; 24];
        page.frame(0).unwrap().read(offset::EXIT_REASON, &mut bytes);
        assert_eq!(bytes, header.as_bytes());
        assert!(page.frame(2).is_none());
    }
}
