//! What a scan makes of torn and of damaged frames, within a file and across files.

use bytes::BytesMut;

use super::*;
use crate::{
    frame::{Change, FrameBuffer},
    simulated_disk::SimulatedDisk,
};

const SALT: u32 = 99;

#[derive(Clone)]
struct Image {
    first_sequence: u64,
    bytes: Vec<u8>,
}

/// A file from groups of frames; each group was synced before the next was written. Returns where each frame begins.
fn file(first_sequence: u64, groups: &[usize]) -> (Image, Vec<usize>) {
    let mut bytes = BytesMut::from(&WalHeader { first_sequence, salt: SALT }.to_bytes()[..]);
    let (mut next, mut begins) = (first_sequence, Vec::new());
    for frames in groups {
        let mut group = FrameBuffer::new(SALT, next, next - 1);
        for frame in 0..*frames {
            begins.push(bytes.len() + group.len());
            group.push(&Change::DeleteGroup(format!("group {next} {frame}")));
        }
        let (written, sequence) = group.finish();
        bytes.extend_from_slice(&written);
        next = sequence;
    }
    bytes.resize(bytes.len() + 512, 0);
    (Image { first_sequence, bytes: bytes.to_vec() }, begins)
}

fn damaged(file: &Image, at: usize) -> Image {
    let mut bytes = file.bytes.clone();
    bytes[at + 30] ^= 1;
    Image { bytes, ..*file }
}

/// What is found, in short: the sequences of frames, `!n` for damage with n frames missing, `.` for the end.
fn found(images: &[Image], expected: u64) -> String {
    let root = Path::new("/wal");
    let disk = SimulatedDisk::new(root);
    let write = |image: &Image| {
        let path = root.join(image.first_sequence.to_string());
        disk.create(&path).unwrap().write_all_at(&image.bytes, 0).unwrap();
        WalFile::open(&disk, &path, image.first_sequence).unwrap()
    };
    let files: Vec<_> = images.iter().map(write).collect();
    let describe = |found| match found {
        Found::Frame(frame) => format!("{} ", frame.sequence),
        Found::Damage { frames, .. } => format!("!{frames} "),
        Found::End { file, .. } => format!("end in {file}"),
    };
    let scan = |window_bytes| -> String {
        WalScan::new(&disk, &files, expected, window_bytes).map(|found| describe(found.unwrap())).collect()
    };
    let found = scan(WINDOW_BYTES);
    for window_bytes in [1, 24, 100, 300] {
        assert_eq!(scan(window_bytes), found, "read in windows of {window_bytes} bytes");
    }
    found
}

#[test]
fn frames_are_found_in_order_over_files() {
    let (a, _) = file(1, &[2, 1]);
    let (b, _) = file(4, &[1, 2]);
    assert_eq!(found(&[a.clone(), b.clone()], 1), "1 2 3 4 5 6 end in 1");
    assert_eq!(found(&[a.clone(), b.clone()], 3), "3 4 5 6 end in 1", "what the checkpoint has is passed over");
    assert_eq!(found(&[a.clone(), file(4, &[]).0], 1), "1 2 3 end in 1");
    assert_eq!(found(&[a], 4), "end in 0");
    assert_eq!(found(&[], 1), "");
}

#[test]
fn the_last_write_is_torn_and_earlier_ones_are_damaged() {
    let (a, begins) = file(1, &[1, 3, 2]);
    for (frame, expected) in [
        (0, "!1 2 3 4 5 6 end in 0"),
        (1, "1 !1 3 4 5 6 end in 0"),
        (2, "1 2 !1 4 5 6 end in 0"),
        (3, "1 2 3 !1 5 6 end in 0"),
        // The last write was not synced as far as anybody knows, though its second frame is good.
        (4, "1 2 3 4 end in 0"),
        (5, "1 2 3 4 5 end in 0"),
    ] {
        assert_eq!(found(&[damaged(&a, begins[frame])], 1), expected, "frame {frame}");
    }
    let twice = damaged(&damaged(&a, begins[1]), begins[2]);
    assert_eq!(found(&[twice], 1), "1 !2 4 5 6 end in 0");
    let apart = damaged(&damaged(&a, begins[0]), begins[2]);
    assert_eq!(found(&[apart], 1), "!1 2 !1 4 5 6 end in 0");
}

#[test]
fn a_later_file_proves_that_an_earlier_one_was_synced() {
    let (a, begins) = file(1, &[1, 1]);
    let (b, _) = file(3, &[1, 1]);
    assert_eq!(found(&[damaged(&a, begins[1]), b.clone()], 1), "1 !1 3 4 end in 1");
    // Zeros where a frame was look like the unused end of the file; the next file's name says otherwise.
    let mut zeroed = a.bytes.clone();
    zeroed[begins[1]..].fill(0);
    assert_eq!(found(&[Image { first_sequence: 1, bytes: zeroed }, b.clone()], 1), "1 !1 3 4 end in 1");
    let mut lost_header = a;
    lost_header.bytes[..WAL_HEADER_BYTES].fill(0);
    assert_eq!(found(&[lost_header, b.clone()], 1), "!2 3 4 end in 1");
    assert_eq!(found(&[file(1, &[1]).0, file(3, &[]).0], 1), "1 !1 end in 1", "an empty file is proof as well");
}

#[test]
fn a_frame_inside_a_record_is_not_taken_for_one() {
    // A producer cannot know the salt; with another one, its planted frame is noise.
    let mut planted = FrameBuffer::new(SALT + 1, 3, 2);
    planted.push(&Change::DeleteGroup("planted".to_owned()));
    let (planted, _) = planted.finish();
    let (a, begins) = file(1, &[1]);
    let mut bytes = damaged(&a, begins[0]).bytes[..a.bytes.len() - 512].to_vec();
    bytes.extend_from_slice(&planted);
    assert_eq!(found(&[Image { first_sequence: 1, bytes }], 1), "end in 0");
}
