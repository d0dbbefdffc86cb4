#![no_main]

use outrigger_fuzz::{begin, targets::responses::TARGET};

libfuzzer_sys::fuzz_target!(init: begin(&TARGET), |data: &[u8]| (TARGET.run)(data));
