//! The fingerprint of RSA keys made by a faulty smart-card library (ROCA, CVE-2017-15361).
//!
//! Such primes are `k·M + (65537^a mod M)` for a product M of small primes, so that the modulus is
//! a power of 65537 modulo each of them (Nemec et al., "The Return of Coppersmith's Attack").

/// The odd primes that divide M for every key size.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a big-endian modulus has the fingerprint. A sound key has it with negligible chance.
pub(super) fn is_fingerprinted(modulus: &[u8]) -> bool {
    PRIMES.into_iter().all(|prime| is_power(remainder(modulus, prime), prime))
}

fn remainder(modulus: &[u8], prime: u32) -> u32 {
    modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime)
}

/// Whether `value` is a power of 65537 modulo `prime`; the order divides `prime - 1`.
fn is_power(value: u32, prime: u32) -> bool {
    let generator = 65_537 % prime;
    std::iter::successors(Some(1), |power| Some(power * generator % prime))
        .take(prime as usize - 1)
        .any(|power| power == value)
}
