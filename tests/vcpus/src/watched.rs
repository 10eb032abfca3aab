//! Fresh frames with a known content: [`Watched`]. If somebody still writes a
//! frame that was freed, sooner or later it is one of these.

use crate::{PAGE, Pages};
use anyhow::{Result, ensure};

/// Pages filled with a pattern that nobody else knows.
#[derive(Debug)]
pub struct Watched {
    pages: Pages,
    seed: u32,
}

impl Watched {
    /// Maps and fills `count` pages.
    ///
    /// # Errors
    /// No memory.
    pub fn fill(count: usize, seed: u32) -> Result<Watched> {
        let pages = Pages::map(count)?;
        let watched = Watched { pages, seed };
        for page in 0..count {
            for word in 0..PAGE / 4 {
                watched.pages.write(page, word, watched.pattern(page, word));
            }
        }
        Ok(watched)
    }

    fn pattern(&self, page: usize, word: usize) -> u32 {
        // The top bit is never set in what guests write.
        (self.seed ^ (page * PAGE + word) as u32).wrapping_mul(0x9E37_79B1) | 1 << 31
    }

    /// Whether all is as it was.
    ///
    /// # Errors
    /// A sentence naming what was found where.
    pub fn verify(&self) -> Result<()> {
        for page in 0..self.pages.count() {
            for word in 0..PAGE / 4 {
                let (found, wanted) = (self.pages.read(page, word), self.pattern(page, word));
                ensure!(
                    found == wanted,
                    "somebody wrote into a frame that is not theirs: word {word} of page {page} is {found:#x}, \
                     not {wanted:#x}"
                );
            }
        }
        Ok(())
    }
}
