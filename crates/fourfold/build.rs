//! Tells the linker of a release to keep one copy of functions that are the same: each crate has its own of what is
//! generic, and Arrow and DataFusion have many.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = ["TARGET_ARCH", "TARGET_OS", "TARGET_ENV"].map(|name| var(format!("CARGO_CFG_{name}")));
    let target = target.map(Result::unwrap_or_default);
    // There rustc links with LLD; the linkers of other targets may not know the option.
    let has_lld = target.each_ref().map(String::as_str) == ["x86_64", "linux", "gnu"];
    if has_lld && var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
