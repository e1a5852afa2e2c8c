//! Numbers for tests that do something else each time.

/// Numbers that are the same in every run.
pub struct Seeded(pub u64);

impl Seeded {
    /// The next one, from 0 up to and without `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(limit)) as u32
    }
}
