//! Terminals: termios(3) and ioctl_tty(2), as the kernel lays them out.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number of control characters in the kernel's termios.
pub const NCCS: usize = 19;

/// The kernel's `struct termios` (`TCGETS`), shorter than the C library's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Termios {
    /// Input modes.
    pub iflag: u32,
    /// Output modes.
    pub oflag: u32,
    /// Control modes.
    pub cflag: u32,
    /// Local modes.
    pub lflag: u32,
    /// Line discipline.
    pub line: u8,
    /// Control characters, indexed by `V*`.
    pub cc: [u8; NCCS],
}

/// Size of a terminal's window.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Winsize {
    /// Rows, in characters.
    pub row: u16,
    /// Columns, in characters.
    pub col: u16,
    /// Width in pixels.
    pub xpixel: u16,
    /// Height in pixels.
    pub ypixel: u16,
}

macro_rules! numbers {
    ($kind:ty; $($name:ident = $value:expr, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: $kind = $value;)*

        #[cfg(test)]
        mod number_tests {
            #[test]
            fn numbers_are_those_of_libc() {
                $(assert_eq!(super::$name as u64, libc::$name as u64, stringify!($name));)*
            }
        }
    };
}

numbers! { u32;
    IGNBRK = 0o1, "Ignore a break.";
    BRKINT = 0o2, "A break is an interrupt.";
    IGNPAR = 0o4, "Ignore bad parity.";
    PARMRK = 0o10, "Mark bad parity.";
    INPCK = 0o20, "Check parity.";
    ISTRIP = 0o40, "Strip the eighth bit.";
    INLCR = 0o100, "Input: newline becomes carriage return.";
    IGNCR = 0o200, "Input: drop carriage returns.";
    ICRNL = 0o400, "Input: carriage return becomes newline.";
    IXON = 0o2000, "^S and ^Q stop and start output.";
    IXANY = 0o4000, "Any character starts output.";
    IXOFF = 0o10000, "The terminal is stopped when input is full.";
    IMAXBEL = 0o20000, "Ring the bell when input is full.";
    IUTF8 = 0o40000, "Input is UTF-8, for erasing.";
    OPOST = 0o1, "Process output.";
    ONLCR = 0o4, "Output: newline becomes carriage return and newline.";
    OCRNL = 0o10, "Output: carriage return becomes newline.";
    ONOCR = 0o20, "Output: no carriage return in column 0.";
    ONLRET = 0o40, "Output: newline also returns the carriage.";
    TAB3 = 0o14000, "Output: tabs become spaces.";
    CS8 = 0o60, "Eight bits a character.";
    CREAD = 0o200, "The receiver is on.";
    HUPCL = 0o2000, "Hang up on last close.";
    CLOCAL = 0o4000, "No modem control.";
    B38400 = 0o17, "38,400 baud.";
    ISIG = 0o1, "Control characters send signals.";
    ICANON = 0o2, "Input in lines.";
    ECHO = 0o10, "Echo input.";
    ECHOE = 0o20, "Erase rubs out on the screen.";
    ECHOK = 0o40, "Kill ends the line on the screen.";
    ECHONL = 0o100, "Echo newline even without echo.";
    NOFLSH = 0o200, "Signals do not flush queues.";
    TOSTOP = 0o400, "Background output stops the writer.";
    ECHOCTL = 0o1000, "Echo control characters as ^X.";
    ECHOKE = 0o4000, "Kill rubs out the line on the screen.";
    IEXTEN = 0o100000, "Extensions: word erase, literal next, reprint.";
    VINTR = 0, "Index: interrupt.";
    VQUIT = 1, "Index: quit.";
    VERASE = 2, "Index: erase a character.";
    VKILL = 3, "Index: erase the line.";
    VEOF = 4, "Index: end of file.";
    VTIME = 5, "Index: time-out in tenths of a second.";
    VMIN = 6, "Index: least bytes of a raw read.";
    VSTART = 8, "Index: start output.";
    VSTOP = 9, "Index: stop output.";
    VSUSP = 10, "Index: suspend.";
    VEOL = 11, "Index: another end of line.";
    VREPRINT = 12, "Index: reprint the line.";
    VDISCARD = 13, "Index: discard output.";
    VWERASE = 14, "Index: erase a word.";
    VLNEXT = 15, "Index: take the next character literally.";
    VEOL2 = 16, "Index: yet another end of line.";
    TCGETS = 0x5401, "Get termios.";
    TCSETS = 0x5402, "Set termios now.";
    TCSETSW = 0x5403, "Set termios after output.";
    TCSETSF = 0x5404, "Set termios after output, dropping input.";
    TCSBRK = 0x5409, "Send a break, or wait for output.";
    TCXONC = 0x540A, "Stop or start.";
    TCFLSH = 0x540B, "Drop queues.";
    TIOCEXCL = 0x540C, "Exclusive use.";
    TIOCNXCL = 0x540D, "End exclusive use.";
    TIOCSCTTY = 0x540E, "Become the controlling terminal.";
    TIOCGPGRP = 0x540F, "Get the foreground process group.";
    TIOCSPGRP = 0x5410, "Set the foreground process group.";
    TIOCOUTQ = 0x5411, "Bytes not yet put out.";
    TIOCSTI = 0x5412, "Type a character.";
    TIOCGWINSZ = 0x5413, "Get the window's size.";
    TIOCSWINSZ = 0x5414, "Set the window's size.";
    TIOCNOTTY = 0x5422, "Give up the controlling terminal.";
    TIOCGSID = 0x5429, "Get the session.";
    TCIFLUSH = 0, "Drop input.";
    TCOFLUSH = 1, "Drop output.";
    TCIOFLUSH = 2, "Drop both.";
    TCOOFF = 0, "Stop output.";
    TCOON = 1, "Start output.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn layouts_are_the_kernels() {
        // The C library's termios starts like the kernel's, but is longer.
        assert_eq!(size_of::<Termios>(), 36);
        assert_eq!(offset_of!(Termios, cc), offset_of!(libc::termios, c_cc));
        assert_eq!(size_of::<Winsize>(), size_of::<libc::winsize>());
    }
}
