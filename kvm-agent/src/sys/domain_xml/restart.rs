//! Changes a document that libvirt wrote, so that the VM starts again from it: another boot order, and a
//! note of the task that did it. Everything else passes through untouched.

use std::io;

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer, XmlVersion};

use super::boot::{Orders, Source};

/// The attribute of the mark that names the task which last restarted the VM.
const BY: &str = "restarted-by";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the domain's definition: {0}")]
    Read(#[from] quick_xml::Error),
    #[error("cannot read an attribute of the domain's definition: {0}")]
    Attribute(#[from] quick_xml::events::attributes::AttrError),
    #[error("cannot write the domain's definition: {0}")]
    Write(#[from] io::Error),
    #[error("{0}")]
    Boot(String),
}

/// `xml`, to be booted as `boot_dev` says (as it was, when that is empty), restarted by `task`.
pub fn prepare(xml: &str, boot_dev: &[String], task: &str) -> Result<String, Error> {
    let sources = Source::parse_all(boot_dev).map_err(Error::Boot)?;
    let orders = (!sources.is_empty()).then(|| count(xml, &sources)).transpose()?;
    let mut reader = Reader::from_str(xml);
    let mut pass = Pass { writer: Writer::new(Vec::new()), orders, task };
    loop {
        match reader.read_event()? {
            Event::Eof => break,
            event => pass.take(event)?,
        }
    }
    String::from_utf8(pass.writer.into_inner()).map_err(|e| Error::Write(io::Error::other(e)))
}

/// The task that last restarted the VM of this live document, as [`prepare`] noted it.
pub fn restarted_by(xml: &str) -> Result<Option<String>, Error> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(None),
            Event::Start(tag) | Event::Empty(tag) if is_mark(&tag) => return attribute(&tag, BY),
            _ => {}
        }
    }
}

struct Pass<'a> {
    writer: Writer<Vec<u8>>,
    orders: Option<Orders>,
    task: &'a str,
}

impl Pass<'_> {
    fn take(&mut self, event: Event<'_>) -> Result<(), Error> {
        match event {
            Event::Empty(tag) if self.orders.is_some() && tag.name().as_ref() == "boot" => {}
            Event::Empty(tag) if is_mark(&tag) => self.writer.write_event(Event::Empty(self.noted(&tag)?))?,
            Event::Start(tag) if is_mark(&tag) => self.writer.write_event(Event::Start(self.noted(&tag)?))?,
            Event::Start(tag) => {
                let order = self.next_order(&tag)?;
                self.writer.write_event(Event::Start(tag))?;
                if let Some(order) = order {
                    let order = order.to_string();
                    let boot = BytesStart::new("boot").with_attributes([("order", order.as_str())]);
                    self.writer.write_event(Event::Empty(boot))?;
                }
            }
            other => self.writer.write_event(other)?,
        }
        Ok(())
    }

    fn noted(&self, mark: &BytesStart<'_>) -> Result<BytesStart<'static>, Error> {
        let mut noted = BytesStart::new(mark.name().as_ref().to_owned());
        for attribute in mark.attributes() {
            let attribute: Attribute<'_> = attribute?;
            if attribute.key.as_ref() != BY {
                noted.push_attribute(attribute);
            }
        }
        noted.push_attribute((BY, self.task));
        Ok(noted)
    }

    /// The place in the boot order of the device that starts here.
    fn next_order(&mut self, tag: &BytesStart<'_>) -> Result<Option<u32>, Error> {
        let Some(orders) = &mut self.orders else { return Ok(None) };
        Ok(match device(tag)? {
            Some(Source::Disk) => orders.root.take(),
            Some(Source::CdRom) => orders.cd_roms.remove(0),
            Some(Source::Network) => orders.nics.remove(0),
            None => None,
        })
    }
}

fn count(xml: &str, sources: &[Source]) -> Result<Orders, Error> {
    let (mut cd_roms, mut nics) = (0, 0);
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(Orders::by_source(sources, cd_roms, nics)),
            Event::Start(tag) => match device(&tag)? {
                Some(Source::CdRom) => cd_roms += 1,
                Some(Source::Network) => nics += 1,
                Some(Source::Disk) | None => {}
            },
            _ => {}
        }
    }
}

fn device(tag: &BytesStart<'_>) -> Result<Option<Source>, Error> {
    Ok(match tag.name().as_ref() {
        "interface" => Some(Source::Network),
        "disk" => match attribute(tag, "device")?.as_deref() {
            Some("cdrom") => Some(Source::CdRom),
            None | Some("disk") => Some(Source::Disk),
            Some(_) => None,
        },
        _ => None,
    })
}

fn is_mark(tag: &BytesStart<'_>) -> bool {
    tag.name().as_ref() == "cumulet:vm"
}

pub(super) fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, Error> {
    let Some(found) = tag.try_get_attribute(name)? else { return Ok(None) };
    Ok(Some(found.normalized_value(XmlVersion::Implicit1_0)?.into_owned()))
}
