//! Packets that rules sampled: lines, JSON, or a capture file.

use super::args::SamplesArgs;
use super::ask::ask;
use crate::exit_status::OK;
use crate::output::{Output, print_error};
use anyhow::{Context, Result};
use api::SampleView;
use api::client::{Client, Failure};
use api::hex::parse_hex;
use api::packet_text::describe;
use flowspec::Packet;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Most octets of a frame in a sample.
const SNAPLEN: u32 = 128;

/// Prints samples as they arrive, until there were enough.
pub(super) fn samples(args: &SamplesArgs) -> Result<u8> {
    ask(&args.live, async |client: &Client| -> Result<u8, Failure> {
        let mut sink = Sink::new(args)?;
        let (mut seen, mut lost) = (0u64, 0u64);
        let most = args.count.unwrap_or(u64::MAX);
        let mut event = String::new();
        let read = client.lines("/v1/samples", |line| {
            if let Some(kind) = line.strip_prefix("event: ") {
                kind.clone_into(&mut event);
            } else if let Some(data) = line.strip_prefix("data: ") {
                if std::mem::take(&mut event).is_empty() {
                    sink.take(&serde_json::from_str(data)?)?;
                    seen += 1;
                } else {
                    let more: u64 = data.parse()?;
                    lost += more;
                    print_error(format_args!("floodgate: {more} samples were lost: they were not read fast enough"));
                }
            }
            Ok(seen < most)
        });
        match args.duration {
            // A timeout is not a failure.
            Some(age) => tokio::time::timeout(age.0, read).await.unwrap_or(Ok(()))?,
            None => read.await?,
        }
        sink.finish()?;
        if lost > 0 {
            print_error(format_args!("floodgate: {seen} samples, {lost} lost"));
        }
        Ok(OK)
    })
}

/// The output of samples.
enum Sink {
    Text(Output),
    Json(Output),
    Capture(Box<PcapWriter<Box<dyn Write>>>),
}

impl Sink {
    fn new(args: &SamplesArgs) -> Result<Self> {
        match &args.pcap {
            Some(path) => Ok(Sink::Capture(Box::new(capture(path)?))),
            None if args.live.json => Ok(Sink::Json(Output::new())),
            None => Ok(Sink::Text(Output::new())),
        }
    }

    fn take(&mut self, sample: &SampleView) -> Result<()> {
        match self {
            Sink::Text(output) => {
                output.line(&line(sample))?;
                output.flush()
            }
            Sink::Json(output) => {
                output.json(sample)?;
                output.flush()
            }
            Sink::Capture(writer) => {
                let octets = parse_hex(&sample.octets)?;
                writer.write_packet(&PcapPacket::new(time(&sample.time), sample.length, &octets))?;
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Sink::Text(output) | Sink::Json(output) => output.finish(),
            Sink::Capture(writer) => writer.into_writer().flush().context("write the capture file"),
        }
    }
}

/// Unbuffered, so that an interrupted file is complete, and so is one that is being read.
fn capture(path: &Path) -> Result<PcapWriter<Box<dyn Write>>> {
    let file: Box<dyn Write> = if path == Path::new("-") {
        // Not the buffered one: a reader of a pipe sees each packet when it arrives.
        Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))
    } else {
        Box::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
    };
    let header = PcapHeader {
        snaplen: SNAPLEN,
        datalink: DataLink::ETHERNET,
        ts_resolution: TsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    PcapWriter::with_header(file, header).context("write the capture file")
}

/// Since 1970.
fn time(text: &str) -> Duration {
    humantime::parse_rfc3339(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default()
}

/// A sample as text.
fn line(sample: &SampleView) -> String {
    let octets = parse_hex(&sample.octets).unwrap_or_default();
    let what = Packet::from_ethernet(&octets).map_or_else(|error| error.to_string(), |packet| describe(&packet));
    let rule = sample.rule.as_deref().unwrap_or("-");
    format!("{}  {}  {rule}  {what}", sample.time, sample.interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_line_and_its_time_is_that_of_the_capture() {
        let ip = "4500001c00010000401166cdc6336407c0000201007b0fa000080000";
        let sample = SampleView {
            time: "2026-01-02T03:04:05.678901234Z".to_owned(),
            rule: Some("037af410fd40".to_owned()),
            interface: "eth0".to_owned(),
            length: 60,
            octets: format!("0200000000010200000000020800{ip}"),
        };
        let said = line(&sample);
        assert!(said.starts_with("2026-01-02T03:04:05.678901234Z  eth0  037af410fd40  udp "), "{said}");
        assert!(said.contains("198.51.100.7") && said.contains("192.0.2.1"), "{said}");
        assert_eq!(time(&sample.time).subsec_nanos(), 678_901_234);
        assert!(!line(&SampleView::default()).is_empty());
    }
}
