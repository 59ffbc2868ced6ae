//! Owns the Merkle tree of RFC 6962 (the same as RFC 9162's): hashes, the
//! growing tree, inclusion and consistency proofs, made and verified.
//!
//! Refuses to know: where nodes are stored and what the leaves mean. A proof
//! is planned as a list of node coordinates first ([`NodeId`]), so that a
//! caller can read all of them in one query, then assembled.
//!
//! Only *complete* subtrees are ever named: node `(level, index)` covers the
//! leaves `index · 2^level .. (index + 1) · 2^level` and never changes again.

use std::collections::HashMap;
use std::hash::BuildHasher;

use vault::sha256_parts;

/// A SHA-256 value: a leaf hash, a node hash or a root.
pub type Hash = [u8; 32];

/// The coordinates of a complete subtree. Level 0 holds the leaf hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Height of the subtree; it covers `2^level` leaves.
    pub level: u8,
    /// Position among the subtrees of this height.
    pub index: u64,
}

impl NodeId {
    fn missing(self) -> ProofError {
        ProofError::MissingNode { level: self.level, index: self.index }
    }
}

/// The lowest level whose nodes are stored. What lies below is computed from at
/// most 63 leaves when it is needed: storing every node would double the rows of
/// the log for nothing that a range of leaves does not say as well.
pub const STORED_LEVEL_MIN: u8 = 6;

/// Reads of stored nodes: what has to be fetched so that `wanted` can be had.
pub fn nodes_to_fetch(wanted: &[NodeId]) -> Vec<NodeId> {
    wanted.iter().copied().flat_map(leaves_or_self).collect()
}

/// Computes the wanted nodes below [`STORED_LEVEL_MIN`] from their leaves.
pub fn compute_low_nodes<S: BuildHasher>(
    wanted: &[NodeId],
    nodes: &mut HashMap<NodeId, Hash, S>,
) -> Result<(), ProofError> {
    for id in wanted.iter().filter(|id| (1..STORED_LEVEL_MIN).contains(&id.level)) {
        let leaves = leaves_or_self(*id)
            .map(|leaf| nodes.get(&leaf).copied().ok_or(leaf.missing()))
            .collect::<Result<Vec<_>, _>>()?;
        nodes.insert(*id, root(&leaves));
    }
    Ok(())
}

/// The leaves below a node that is not stored; a leaf or a stored node itself.
fn leaves_or_self(id: NodeId) -> impl Iterator<Item = NodeId> {
    let height = if id.level < STORED_LEVEL_MIN { id.level } else { 0 };
    let first = id.index << height;
    (first..first + (1 << height)).map(move |index| NodeId { level: id.level - height, index })
}

/// How many nodes are stored for a tree of so many leaves.
pub fn stored_node_count(leaves: u64) -> u64 {
    (STORED_LEVEL_MIN..63).map(|level| leaves >> level).sum()
}

/// Why a proof was refused or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf index does not lie inside the tree.
    #[error("leaf index {index} lies outside a tree of {size}")]
    IndexOutside {
        /// The index asked for.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The first size is zero or greater than the second.
    #[error("no consistency between sizes {first} and {second}")]
    SizesOutOfOrder {
        /// The older size.
        first: u64,
        /// The newer size.
        second: u64,
    },
    /// The proof has the wrong number of hashes.
    #[error("the proof has the wrong length")]
    WrongLength,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    RootMismatch,
    /// The node source lacks a node that the proof needs.
    #[error("node {index} of level {level} is missing")]
    MissingNode {
        /// Its level.
        level: u8,
        /// Its index.
        index: u64,
    },
}

/// `SHA-256(0x00 ‖ data)`, RFC 6962 section 2.1.
pub fn leaf_hash(data: &[u8]) -> Hash {
    sha256_parts(&[&[0], data])
}

/// `SHA-256(0x01 ‖ left ‖ right)`, RFC 6962 section 2.1.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256_parts(&[&[1], left, right])
}

/// The root of the empty tree: `SHA-256("")`.
pub fn empty_root() -> Hash {
    sha256_parts(&[])
}

/// The root over leaf hashes.
pub fn root(leaf_hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for leaf in leaf_hashes {
        frontier.append(*leaf, |_, _| {});
    }
    frontier.root()
}

/// The right edge of a growing tree: the roots of its complete subtrees, one
/// for each bit set in its size, largest first. Enough to append and to know
/// the root; O(log n) of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The nodes that [`Frontier::restore`] needs for a tree of this size,
    /// largest subtree first.
    pub fn node_ids(size: u64) -> Vec<NodeId> {
        complete_subtrees(0, size)
    }

    /// A tree of `size` from the hashes of [`Frontier::node_ids`], in order.
    pub fn restore(size: u64, peaks: Vec<Hash>) -> Result<Self, ProofError> {
        if peaks.len() == size.count_ones() as usize {
            Ok(Self { size, peaks })
        } else {
            Err(ProofError::WrongLength)
        }
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf and hands every subtree that it completes, levels above
    /// zero, to `completed`; those from [`STORED_LEVEL_MIN`] are to be stored.
    pub fn append(&mut self, leaf: Hash, mut completed: impl FnMut(NodeId, Hash)) {
        let mut hash = leaf;
        let mut index = self.size;
        let mut level = 0;
        while index & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            index >>= 1;
            level += 1;
            completed(NodeId { level, index }, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree as it stands.
    pub fn root(&self) -> Hash {
        fold_right(&self.peaks).unwrap_or_else(empty_root)
    }
}

/// Joins neighbouring subtrees, largest first, into the hash above them all.
fn fold_right(hashes: &[Hash]) -> Option<Hash> {
    let (last, rest) = hashes.split_last()?;
    Some(rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// The complete subtrees that tile the leaves `begin..end`, left to right.
/// `begin` is a multiple of the smallest power of two ≥ `end - begin`, as in
/// every subtree that RFC 6962 names.
fn complete_subtrees(begin: u64, end: u64) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut at = begin;
    while at < end {
        let level = (end - at).ilog2();
        nodes.push(NodeId { level: u8::try_from(level).unwrap_or(u8::MAX), index: at >> level });
        at += 1 << level;
    }
    nodes
}

/// A proof before its hashes are read: for each hash of the proof the
/// complete subtrees that it is folded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofPlan {
    steps: Vec<Vec<NodeId>>,
}

impl ProofPlan {
    /// `PATH(index, D[size])` of RFC 6962 section 2.1.1.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofError> {
        if index >= size {
            return Err(ProofError::IndexOutside { index, size });
        }
        let mut steps = Vec::new();
        let (mut begin, mut end) = (0, size);
        while end - begin > 1 {
            let middle = begin + split_point(end - begin);
            if index < middle {
                steps.push(complete_subtrees(middle, end));
                end = middle;
            } else {
                steps.push(complete_subtrees(begin, middle));
                begin = middle;
            }
        }
        steps.reverse();
        Ok(Self { steps })
    }

    /// `PROOF(first, D[second])` of RFC 6962 section 2.1.2.
    pub fn consistency(first: u64, second: u64) -> Result<Self, ProofError> {
        if first == 0 || first > second {
            return Err(ProofError::SizesOutOfOrder { first, second });
        }
        let mut steps = Vec::new();
        let (mut begin, mut end) = (0, second);
        while end > first {
            let middle = begin + split_point(end - begin);
            if first <= middle {
                steps.push(complete_subtrees(middle, end));
                end = middle;
            } else {
                steps.push(complete_subtrees(begin, middle));
                begin = middle;
            }
        }
        // The old tree itself is known to the verifier; any other subtree is not.
        if begin > 0 {
            steps.push(complete_subtrees(begin, end));
        }
        steps.reverse();
        Ok(Self { steps })
    }

    /// Every node that the proof reads: O(log² n) at worst, O(log n) in sum
    /// for a tree's right edge; read them in one query.
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.steps.iter().flatten().copied().collect()
    }

    /// The proof, from the nodes read.
    pub fn assemble(&self, nodes: &HashMap<NodeId, Hash>) -> Result<Vec<Hash>, ProofError> {
        self.steps
            .iter()
            .map(|step| {
                let hashes = step
                    .iter()
                    .map(|id| nodes.get(id).copied().ok_or(id.missing()))
                    .collect::<Result<Vec<_>, _>>()?;
                fold_right(&hashes).ok_or(ProofError::WrongLength)
            })
            .collect()
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split_point(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// Verifies that a leaf stands at `index` in the tree of `size` with `root`
/// (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutside { index, size });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    match (last == 0, hash == *root) {
        (false, _) => Err(ProofError::WrongLength),
        (true, false) => Err(ProofError::RootMismatch),
        (true, true) => Ok(()),
    }
}

/// Verifies that the tree of `second` leaves extends the tree of `first`
/// (RFC 9162 section 2.1.4.2). Equal sizes need an empty proof and equal
/// roots; nothing can be proven about an empty first tree.
pub fn verify_consistency(
    first: u64,
    second: u64,
    proof: &[Hash],
    first_root: &Hash,
    second_root: &Hash,
) -> Result<(), ProofError> {
    if first == 0 || first > second {
        return Err(ProofError::SizesOutOfOrder { first, second });
    }
    if first == second {
        return match (proof.is_empty(), first_root == second_root) {
            (false, _) => Err(ProofError::WrongLength),
            (true, false) => Err(ProofError::RootMismatch),
            (true, true) => Ok(()),
        };
    }
    let (start, rest) = if first.is_power_of_two() {
        (*first_root, proof)
    } else {
        let (start, rest) = proof.split_first().ok_or(ProofError::WrongLength)?;
        (*start, rest)
    };
    if rest.is_empty() {
        return Err(ProofError::WrongLength);
    }
    let (old, new) = climb(first, second, start, rest)?;
    if old == *first_root && new == *second_root { Ok(()) } else { Err(ProofError::RootMismatch) }
}

/// Steps 4 to 7 of RFC 9162 section 2.1.4.2: both roots from one proof.
fn climb(first: u64, second: u64, start: Hash, proof: &[Hash]) -> Result<(Hash, Hash), ProofError> {
    let (mut node, mut last) = (first - 1, second - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (start, start);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok((old, new)) } else { Err(ProofError::WrongLength) }
}

#[cfg(test)]
#[path = "merkle_tests.rs"]
mod tests;
