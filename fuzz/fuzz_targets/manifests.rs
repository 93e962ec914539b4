#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reelay::recording::fuzzing::manifests(data));
