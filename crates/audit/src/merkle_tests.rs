//! The tree against RFC 6962's published vectors and a naive implementation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn vectors() -> Option<PathBuf> {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/vectors-crypto/rfc6962-merkle"
    ));
    if path.exists() {
        return Some(path.to_owned());
    }
    eprintln!("skipped: ../shared/data/vectors-crypto/rfc6962-merkle absent");
    None
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [only] => *only,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
        }
    }
}

fn tree(leaves: &[Hash]) -> (Frontier, HashMap<NodeId, Hash>) {
    let mut frontier = Frontier::default();
    let mut nodes = HashMap::new();
    for (index, leaf) in leaves.iter().enumerate() {
        nodes.insert(NodeId { level: 0, index: index as u64 }, *leaf);
        frontier.append(*leaf, |id, hash| {
            assert!(nodes.insert(id, hash).is_none(), "a node is completed once");
        });
    }
    (frontier, nodes)
}

#[test]
fn reference_tree() {
    let Some(path) = vectors() else { return };
    let text = std::fs::read_to_string(path.join("reference_tree.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let list = |name: &str| -> Vec<Vec<u8>> {
        reference[name].as_array().unwrap().iter().map(|v| from_hex(v.as_str().unwrap())).collect()
    };
    let leaves: Vec<Hash> = list("leaves_hex").iter().map(|leaf| leaf_hash(leaf)).collect();
    for (size, expected) in list("roots_hex").iter().enumerate() {
        assert_eq!(root(&leaves[..size]).as_slice(), expected.as_slice(), "root of {size}");
    }
    let (_, nodes) = tree(&leaves);
    for (level, row) in reference["node_hashes_hex"].as_array().unwrap().iter().enumerate() {
        for (index, hash) in row.as_array().unwrap().iter().enumerate() {
            let id = NodeId { level: u8::try_from(level).unwrap(), index: index as u64 };
            assert_eq!(nodes[&id].as_slice(), from_hex(hash.as_str().unwrap()).as_slice());
        }
    }
}

fn json_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            json_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "json") {
            found.push(path);
        }
    }
}

/// What is not 32 bytes long is no hash and never reaches the verifier.
fn hash_of(value: &Value) -> Option<Hash> {
    STANDARD.decode(value.as_str().unwrap_or_default()).ok()?.try_into().ok()
}

/// Some consistency vectors hold "roots" of another length (`dont care`): they
/// are hashed, which keeps equal equal and unequal unequal.
fn root_of(value: &Value) -> Option<Hash> {
    let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).ok()?;
    Some(bytes.as_slice().try_into().unwrap_or_else(|_| leaf_hash(&bytes)))
}

fn proof_of(case: &Value) -> Option<Vec<Hash>> {
    case["proof"].as_array().map_or(Some(Vec::new()), |hashes| hashes.iter().map(hash_of).collect())
}

fn inclusion_accepted(case: &Value) -> Option<bool> {
    let (index, size) = (case["leafIdx"].as_u64()?, case["treeSize"].as_u64()?);
    let (leaf, root) = (hash_of(&case["leafHash"])?, hash_of(&case["root"])?);
    Some(verify_inclusion(&leaf, index, size, &proof_of(case)?, &root).is_ok())
}

fn consistency_accepted(case: &Value) -> Option<bool> {
    let (first, second) = (case["size1"].as_u64()?, case["size2"].as_u64()?);
    let (first_root, second_root) = (root_of(&case["root1"])?, root_of(&case["root2"])?);
    Some(verify_consistency(first, second, &proof_of(case)?, &first_root, &second_root).is_ok())
}

fn run_folder(name: &str, accepted: fn(&Value) -> Option<bool>) -> (usize, usize) {
    let Some(path) = vectors() else { return (0, 0) };
    let mut files = Vec::new();
    json_files(&path.join("testdata").join(name), &mut files);
    let mut valid = 0;
    for file in &files {
        let case: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let wants_error = case["wantErr"].as_bool().unwrap();
        assert_eq!(!accepted(&case).unwrap_or(false), wants_error, "{}", file.display());
        valid += usize::from(!wants_error);
    }
    (files.len(), valid)
}

#[test]
fn published_inclusion_and_consistency_vectors() {
    let (inclusion, inclusion_valid) = run_folder("inclusion", inclusion_accepted);
    let (consistency, consistency_valid) = run_folder("consistency", consistency_accepted);
    if inclusion + consistency > 0 {
        assert!(inclusion_valid >= 5 && consistency_valid >= 5);
        println!("inclusion: {inclusion} vectors ({inclusion_valid} valid)");
        println!("consistency: {consistency} vectors ({consistency_valid} valid)");
        println!("not applicable: subtreeinclusion, subtreeconsistency (a later draft's proofs)");
    }
}

fn leaves_of(count: usize) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

#[test]
fn every_proof_of_every_small_tree() {
    let leaves = leaves_of(40);
    for size in 1..=leaves.len() {
        let (frontier, nodes) = tree(&leaves[..size]);
        let root = naive_root(&leaves[..size]);
        assert_eq!(frontier.root(), root);
        let peaks = Frontier::node_ids(size as u64).iter().map(|id| nodes[id]).collect();
        assert_eq!(Frontier::restore(size as u64, peaks).unwrap(), frontier);
        for (index, leaf) in leaves[..size].iter().enumerate() {
            let plan = ProofPlan::inclusion(index as u64, size as u64).unwrap();
            let proof = plan.assemble(&nodes).unwrap();
            verify_inclusion(leaf, index as u64, size as u64, &proof, &root).unwrap();
        }
        for first in 1..=size {
            let plan = ProofPlan::consistency(first as u64, size as u64).unwrap();
            let proof = plan.assemble(&nodes).unwrap();
            let old = naive_root(&leaves[..first]);
            verify_consistency(first as u64, size as u64, &proof, &old, &root).unwrap();
        }
    }
}

#[test]
fn proofs_and_edges_come_from_the_stored_nodes_alone() {
    let leaves = leaves_of(300);
    for size in [1_u64, 2, 63, 64, 65, 127, 128, 200, 255, 256, 300] {
        let (frontier, all) = tree(&leaves[..usize::try_from(size).unwrap()]);
        let stored: HashMap<NodeId, Hash> = all
            .iter()
            .filter(|(id, _)| id.level == 0 || id.level >= STORED_LEVEL_MIN)
            .map(|(id, hash)| (*id, *hash))
            .collect();
        assert_eq!(stored.len() as u64, size + stored_node_count(size));
        let fetch = |wanted: &[NodeId]| {
            let fetched = nodes_to_fetch(wanted);
            let mut nodes: HashMap<_, _> =
                fetched.into_iter().map(|id| (id, stored[&id])).collect();
            compute_low_nodes(wanted, &mut nodes).unwrap();
            nodes
        };
        let edge = Frontier::node_ids(size);
        let nodes = fetch(&edge);
        let peaks = edge.iter().map(|id| nodes[id]).collect();
        assert_eq!(Frontier::restore(size, peaks).unwrap(), frontier);
        for index in (0..size).step_by(7) {
            let plan = ProofPlan::inclusion(index, size).unwrap();
            let proof = plan.assemble(&fetch(&plan.node_ids())).unwrap();
            assert_eq!(proof, plan.assemble(&all).unwrap());
        }
    }
}

#[test]
fn impossible_requests_are_refused() {
    assert!(ProofPlan::inclusion(3, 3).is_err());
    assert!(ProofPlan::consistency(0, 3).is_err());
    assert!(ProofPlan::consistency(4, 3).is_err());
    assert!(Frontier::restore(3, vec![[0; 32]]).is_err());
}

proptest! {
    #[test]
    fn large_trees_prove_and_forgeries_fail(
        size in 1_usize..700,
        index_seed: u64,
        first_seed: u64,
        flip in 0_usize..10_000,
    ) {
        let leaves = leaves_of(size);
        let (frontier, nodes) = tree(&leaves);
        let (total, root) = (size as u64, naive_root(&leaves));
        prop_assert_eq!(frontier.root(), root);
        let index = index_seed % total;
        let leaf = leaves[usize::try_from(index).unwrap()];
        let mut proof = ProofPlan::inclusion(index, total).unwrap().assemble(&nodes).unwrap();
        prop_assert!(verify_inclusion(&leaf, index, total, &proof, &root).is_ok());
        if !proof.is_empty() {
            let at = flip % proof.len();
            proof[at][flip % 32] ^= 1;
            prop_assert!(verify_inclusion(&leaf, index, total, &proof, &root).is_err());
        }
        let first = 1 + first_seed % total;
        let old = naive_root(&leaves[..usize::try_from(first).unwrap()]);
        let proof = ProofPlan::consistency(first, total).unwrap().assemble(&nodes).unwrap();
        prop_assert!(verify_consistency(first, total, &proof, &old, &root).is_ok());
        let mut forged = old;
        forged[flip % 32] ^= 1;
        prop_assert!(verify_consistency(first, total, &proof, &forged, &root).is_err());
    }
}
