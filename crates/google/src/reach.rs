use crate::{
    error::{Error, Result},
    http::Client,
};
use std::time::{Duration, Instant};

/// Between two looks at a page that is not there yet.
const PAUSE: Duration = Duration::from_secs(5);

impl Client {
    /// Waits until a page answers over a valid certificate, whatever it answers short of a server's error. Sends no
    /// token.
    ///
    /// # Errors
    /// It does not within the time; the text says what it did last.
    pub fn reach(&self, url: &str, within: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            let request = self.agent().get(url).config();
            let reason = match request
                .timeout_global(Some(Duration::from_secs(20)))
                .build()
                .call()
            {
                Ok(answer) if answer.status().as_u16() < 500 => return Ok(()),
                Ok(answer) => format!("it answers {}", answer.status().as_u16()),
                Err(error) => error.to_string(),
            };
            if started.elapsed() + PAUSE > within {
                return Err(Error::refused(
                    format!(
                        "{url} cannot be reached after {} s: {reason}",
                        within.as_secs()
                    ),
                    "See what the machine says: cargo xtask logs NAME; a new name or certificate can take some minutes",
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }
}
