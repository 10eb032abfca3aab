//! The control socket's line protocol: [`Request`] and how its line looks.
//!
//! A client sends a line, `status`, `power-button` or `kill`, and gets one
//! line back that starts with `ok` or `error`.

/// Longest line that a client may send.
pub const LINE_MAX: usize = 256;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// How is the VM?
    Status,
    /// Press the power button.
    PowerButton,
    /// Force it off.
    Kill,
}

impl Request {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// The answer for a line that is no request.
    pub fn parse(line: &str) -> Result<Self, String> {
        match line.trim() {
            "status" => Ok(Self::Status),
            "power-button" => Ok(Self::PowerButton),
            "kill" => Ok(Self::Kill),
            other => Err(format!(
                "error unknown request \"{}\"; use status, power-button or kill",
                other.escape_debug()
            )),
        }
    }
}

/// Takes the complete lines out of `buffer`; `None` if a line is too long.
pub fn take_lines(buffer: &mut Vec<u8>) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = buffer.drain(..=end).collect();
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    (buffer.len() <= LINE_MAX).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_and_others_answered() {
        assert_eq!(Request::parse("status\r\n"), Ok(Request::Status));
        assert_eq!(Request::parse("power-button"), Ok(Request::PowerButton));
        assert_eq!(Request::parse("kill"), Ok(Request::Kill));
        let answer = Request::parse("reboot\u{7}").unwrap_err();
        assert!(
            answer.starts_with("error unknown request \"reboot\\u{7}\""),
            "{answer}"
        );
    }

    #[test]
    fn lines_are_taken_whole() {
        let mut buffer = b"status\nki".to_vec();
        assert_eq!(take_lines(&mut buffer).unwrap(), ["status\n"]);
        assert_eq!(buffer, b"ki");
        buffer.extend([b'x'; LINE_MAX]);
        assert_eq!(take_lines(&mut buffer), None);
    }
}
