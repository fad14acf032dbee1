//! For tests and measurements: the filter in the kernel's test run, without any interface.

pub use super::generated::{NotGenerated, as_code};

use super::classifier::Classifier;
use super::layout::META_RULE;
use super::memory::{Plain, Table};
use super::program::{self, Program, Sizes};
use crate::{Counter, DataplaneError, Usage};
use aya::Ebpf;
use aya::programs::{TestRun, TestRunOptions, Xdp};
use engine::plan::{CompiledRule, RuleFailure, Ruleset};
use flowspec::Nlri;
use flowspec::space::Space;
use std::sync::Arc;
use std::time::Duration;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/harness.o"));

/// Frames in one run of [`Harness::run_frames`].
pub const FRAMES: u32 = 4096;
const FRAME_MAX: usize = 2048;
/// Octets of a frame of [`Harness::measure`].
pub const SMALL: usize = 96;

include!(concat!(env!("OUT_DIR"), "/harness.rs"));

/// The program's outcome for a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `XDP_DROP` is 1, `XDP_PASS` 2, `XDP_REDIRECT` 4.
    pub verdict: u32,
    /// The rules that matched, in order.
    pub rules: Vec<Arc<Nlri>>,
    /// A protected packet: the rules were skipped.
    pub is_protected: bool,
    /// The frame could not be parsed.
    pub is_unread: bool,
    /// The frame's first octets afterwards; at least 14.
    pub head: Vec<u8>,
}

/// The program under test.
pub struct Harness {
    ebpf: Ebpf,
    classifier: Classifier,
    run: Table<Run>,
    frames: Table<Frame>,
    results: Table<ResultLine>,
    smalls: Table<Small>,
    small_frames: u32,
    /// The program that is measured.
    measured: &'static str,
}

impl Harness {
    /// Loads it, with room for this many rules, and for `small_frames` frames to measure with.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn new(rules: u32, small_frames: u32) -> Result<Self, DataplaneError> {
        Self::of_object(OBJECT, &["verify", "bench", "generate"], "bench", rules, small_frames)
    }

    /// The same with the barriers for machines that reorder loads.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn with_barriers(rules: u32) -> Result<Self, DataplaneError> {
        let sizes = Sizes { barriers: true, ..Sizes::for_rules(rules) };
        Self::of_sizes(OBJECT, &["verify"], "bench", sizes, 1)
    }

    /// The same with another object, whose program `measured` is measured: for programs that are
    /// compiled for the occasion.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn of_object(
        object: &[u8],
        programs: &[&str],
        measured: &'static str,
        rules: u32,
        small_frames: u32,
    ) -> Result<Self, DataplaneError> {
        Self::of_sizes(object, programs, measured, Sizes::for_rules(rules), small_frames)
    }

    fn of_sizes(
        object: &[u8],
        programs: &[&str],
        measured: &'static str,
        sizes: Sizes,
        small_frames: u32,
    ) -> Result<Self, DataplaneError> {
        let extra = [("frames", FRAMES), ("results", FRAMES), ("smalls", small_frames.max(1))];
        let (Program { ebpf }, tables) = program::load(object, programs, sizes, &extra)?;
        Ok(Harness {
            run: program::table(&ebpf, "run", 1)?,
            frames: program::table(&ebpf, "frames", FRAMES)?,
            results: program::table(&ebpf, "results", FRAMES)?,
            smalls: program::table(&ebpf, "smalls", small_frames.max(1))?,
            classifier: Classifier::new(tables),
            small_frames,
            measured,
            ebpf,
        })
    }

    /// Puts exactly these rules in force, by a change from the current ones.
    ///
    /// # Errors
    /// The tables are too full to be changed.
    pub fn replace(&mut self, rules: &Ruleset) -> Result<(), DataplaneError> {
        let gone = self.classifier.others(&rules.rules);
        self.classifier
            .apply(&rules.rules, [], &gone, Some(&rules.protected))
            .map_err(|lost| DataplaneError::Refused(lost.why.to_string()))
    }

    /// Applies a change.
    ///
    /// # Errors
    /// The tables are too full to be changed.
    pub fn update(
        &mut self,
        upsert: &[Arc<CompiledRule>],
        remove: &[Arc<Nlri>],
        protected: Option<&Arc<Vec<Space>>>,
    ) -> Result<(), DataplaneError> {
        self.classifier
            .apply(upsert, [], remove, protected)
            .map_err(|lost| DataplaneError::Refused(lost.why.to_string()))
    }

    /// Rules that did not fit.
    pub fn failures(&self) -> Vec<(Arc<Nlri>, RuleFailure)> {
        self.classifier.applied().failures
    }

    /// Counters of the rules in force.
    pub fn counters(&self) -> Vec<(Arc<Nlri>, Counter)> {
        self.classifier.counters()
    }

    /// Usage of the tables.
    pub fn usage(&self) -> Usage {
        self.classifier.usage()
    }

    /// Usage of each table.
    pub fn table_usage(&self) -> Vec<(&'static str, u32, u32)> {
        self.classifier.table_usage()
    }

    /// Statistics of the program, summed over CPUs.
    pub fn statistics(&self) -> [u64; 16] {
        super::statistics::sum(&self.classifier.tables().stats)
    }

    /// Runs every frame through the filter once. Frames have 14 to 2048 octets.
    ///
    /// # Errors
    /// The kernel refuses the run, or a frame is too long or too short.
    pub fn run_frames(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Outcome>, DataplaneError> {
        let mut outcomes = Vec::with_capacity(frames.len());
        for frames in frames.chunks(FRAMES as usize) {
            for (n, frame) in frames.iter().enumerate() {
                if !(14..=FRAME_MAX).contains(&frame.len()) {
                    return Err(DataplaneError::Refused(format!("a frame of {} octets", frame.len())));
                }
                let mut line = Frame { length: frame.len() as u32, unused: 0, octets: [0; FRAME_MAX] };
                line.octets[..frame.len()].copy_from_slice(frame);
                self.frames.write(n, line);
                let mut nothing = self.results.read(n);
                nothing.verdict = 0;
                self.results.write(n, nothing);
            }
            self.run.write(0, Run { next: 0, count: frames.len() as u32, interface: 0, unused: 0 });
            self.test_run("verify", FRAME_MAX, frames.len() as u32)?;
            for (n, frame) in frames.iter().enumerate() {
                outcomes.push(self.outcome(&self.results.read(n), frame.len())?);
            }
        }
        Ok(outcomes)
    }

    fn outcome(&self, line: &ResultLine, length: usize) -> Result<Outcome, DataplaneError> {
        if line.verdict == 0 {
            return Err(DataplaneError::Refused("the program gave up".into()));
        }
        let numbers: Vec<u32> = match (line.found, line.matched) {
            (0, _) => Vec::new(),
            (found, 0) => vec![found & META_RULE],
            (_, matched) => line.rule[..(matched as usize).min(line.rule.len())].to_vec(),
        };
        let name = |number: u32| {
            let known = self.classifier.rule_of(number).cloned();
            known.ok_or_else(|| {
                DataplaneError::Refused(format!("the program names a rule {number}, which there is not"))
            })
        };
        let head = if length < line.head.len() { 14 } else { line.head.len() };
        Ok(Outcome {
            verdict: line.verdict,
            rules: numbers.into_iter().map(name).collect::<Result<_, _>>()?,
            is_protected: line.is_protected != 0,
            is_unread: line.unread != 0,
            head: line.head[..head].to_vec(),
        })
    }

    /// The mean time of a packet, over `repeat` packets: the given frames, repeated. Frames of at
    /// most [`SMALL`] octets; shorter ones are padded with zeros.
    ///
    /// # Errors
    /// The kernel refuses the run.
    pub fn measure(&mut self, frames: &[Vec<u8>], repeat: u32) -> Result<Duration, DataplaneError> {
        self.fill_smalls(frames, 0);
        self.test_run(self.measured, SMALL, repeat)
    }

    /// Sends this many packets out of an interface of this thread's network namespace, the given
    /// frames, repeated, each with `octets` octets; returns the mean time of a packet with
    /// everything that this processor did for it. Its driver must be able to send XDP frames.
    ///
    /// # Errors
    /// The kernel refuses the run.
    pub fn generate(
        &mut self,
        frames: &[Vec<u8>],
        octets: usize,
        repeat: u32,
        interface: u32,
    ) -> Result<Duration, DataplaneError> {
        self.fill_smalls(frames, interface);
        let fd = program::program_fd(&self.ebpf, "generate")?;
        let nanoseconds = super::sys::run_live(fd, &vec![0; octets], repeat)
            .map_err(|source| DataplaneError::Io { context: "generate traffic".into(), source })?;
        Ok(Duration::from_nanos(nanoseconds.into()))
    }

    /// Packets that the rules counted as dropped, for whatever program.
    pub fn dropped(&self) -> u64 {
        let counters = &self.classifier.tables().counters;
        (0..counters.len()).map(|line| counters.read(line).dropped).sum()
    }

    fn fill_smalls(&mut self, frames: &[Vec<u8>], interface: u32) {
        let count = (frames.len() as u32).min(self.small_frames);
        for (n, frame) in frames.iter().take(count as usize).enumerate() {
            let mut octets = [0; SMALL];
            let length = frame.len().min(SMALL);
            octets[..length].copy_from_slice(&frame[..length]);
            let mut small = Small::ZERO;
            for (word, octets) in small.word.iter_mut().zip(octets.as_chunks().0) {
                *word = u64::from_ne_bytes(*octets);
            }
            self.smalls.write(n, small);
        }
        self.run.write(0, Run { next: 0, count, interface, unused: 0 });
    }

    fn test_run(&mut self, name: &str, octets: usize, repeat: u32) -> Result<Duration, DataplaneError> {
        let refused = |error: &dyn std::error::Error| program::refused("run the XDP program", error);
        let program =
            self.ebpf.program_mut(name).ok_or_else(|| DataplaneError::Refused(format!("no program {name}")))?;
        let program: &mut Xdp = program.try_into().map_err(|error| refused(&error))?;
        let data = vec![0u8; octets];
        let mut options = TestRunOptions::new();
        options.data_in = Some(&data);
        options.repeat = repeat;
        let result = program.test_run(options).map_err(|error| refused(&error))?;
        Ok(result.duration)
    }
}
