//! Changes a device of a document that libvirt wrote: its element is taken out as it stands, children are
//! replaced, everything else passes through untouched.

use std::collections::BTreeMap;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer};

use super::restart::{Error, attribute};

/// The element `kind` (`disk`, `interface`) whose alias is `alias`, as libvirt wrote it.
pub fn device(xml: &str, kind: &str, alias: &str) -> Result<Option<String>, Error> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(None),
            Event::Start(tag) if tag.name().as_ref() == kind => {
                let (element, found) = copy(&mut reader, tag.into_owned(), alias)?;
                if found {
                    return Ok(Some(element));
                }
            }
            _ => {}
        }
    }
}

/// `element` with its children `name` replaced by one with these attributes, or by none.
pub fn replace_child(
    element: &str,
    name: &str,
    attributes: Option<&[(&str, &str)]>,
) -> Result<String, Error> {
    let mut reader = Reader::from_str(element);
    let mut writer = Writer::new(Vec::new());
    let (mut depth, mut skipped) = (0_u32, None);
    loop {
        let event = reader.read_event()?;
        let (opens, closes) = (matches!(event, Event::Start(_)), matches!(event, Event::End(_)));
        let is_child = depth == 1
            && matches!(&event, Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == name);
        if closes {
            depth -= 1;
        }
        match event {
            Event::Eof => break,
            _ if is_child => skipped = opens.then_some(depth),
            Event::End(end) if skipped.is_none() => {
                if let (0, Some(attributes)) = (depth, attributes) {
                    let child = BytesStart::new(name).with_attributes(attributes.iter().copied());
                    writer.write_event(Event::Empty(child))?;
                }
                writer.write_event(Event::End(end))?;
            }
            Event::End(_) if skipped == Some(depth) => skipped = None,
            event if skipped.is_none() => writer.write_event(event)?,
            _ => {}
        }
        if opens {
            depth += 1;
        }
    }
    text(writer)
}

/// The first element of that name, wherever it is.
pub fn first(xml: &str, name: &str) -> Result<Option<String>, Error> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(None),
            Event::Start(tag) if tag.name().as_ref() == name => {
                return Ok(Some(copy(&mut reader, tag.into_owned(), "")?.0));
            }
            _ => {}
        }
    }
}

/// The document with other names for its disks' files: old name to new.
pub fn rename_files(xml: &str, names: &BTreeMap<String, String>) -> Result<String, Error> {
    let mut reader = Reader::from_str(xml);
    let mut writer = Writer::new(Vec::new());
    loop {
        match reader.read_event()? {
            Event::Eof => return text(writer),
            Event::Empty(tag) if tag.name().as_ref() == "source" => {
                writer.write_event(Event::Empty(renamed(tag, names)?))?;
            }
            Event::Start(tag) if tag.name().as_ref() == "source" => {
                writer.write_event(Event::Start(renamed(tag, names)?))?;
            }
            event => writer.write_event(event)?,
        }
    }
}

fn renamed<'t>(tag: BytesStart<'t>, names: &BTreeMap<String, String>) -> Result<BytesStart<'t>, Error> {
    let old = attribute(&tag, "file")?;
    let Some(new) = old.and_then(|old| names.get(&old)) else { return Ok(tag) };
    let mut renamed = BytesStart::new("source");
    for other in tag.attributes() {
        let other = other?;
        if other.key.as_ref() != "file" {
            renamed.push_attribute(other);
        }
    }
    renamed.push_attribute(("file", new.as_str()));
    Ok(renamed.into_owned())
}

/// The element that begins with `tag`, and whether it has that alias.
fn copy(reader: &mut Reader<&[u8]>, tag: BytesStart<'_>, alias: &str) -> Result<(String, bool), Error> {
    let mut writer = Writer::new(Vec::new());
    writer.write_event(Event::Start(tag))?;
    let (mut depth, mut found) = (1_u32, false);
    while depth > 0 {
        let event = reader.read_event()?;
        match &event {
            Event::Eof => break,
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            Event::Empty(tag) if depth == 1 && tag.name().as_ref() == "alias" => {
                found |= attribute(tag, "name")?.as_deref() == Some(alias);
            }
            _ => {}
        }
        writer.write_event(event)?;
    }
    Ok((text(writer)?, found))
}

fn text(writer: Writer<Vec<u8>>) -> Result<String, Error> {
    String::from_utf8(writer.into_inner()).map_err(|e| Error::Write(std::io::Error::other(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<domain><devices>\
        <interface type='bridge'><mac address='a'/><source bridge='br0'/><alias name='ua-1'/></interface>\
        <interface type='bridge'><mac address='b'/><source bridge='br0'><x/></source><link state='up'/>\
        <alias name='ua-2'/></interface></devices></domain>";

    #[test]
    fn a_device_is_taken_out_by_its_alias() {
        let found = device(XML, "interface", "ua-2").unwrap().unwrap();
        assert!(found.starts_with("<interface type='bridge'><mac address='b'/>"), "{found}");
        assert!(found.ends_with("<alias name='ua-2'/></interface>"), "{found}");
        assert_eq!(device(XML, "interface", "ua-3").unwrap(), None);
        assert_eq!(device(XML, "disk", "ua-2").unwrap(), None);
    }

    #[test]
    fn files_are_renamed_wherever_they_stand() {
        let xml =
            "<a><disk><source file='/old' index='1'/><b><source file='/other'><x/></source></b></disk></a>";
        let names = BTreeMap::from([("/old".to_owned(), "/new".to_owned())]);
        let renamed = rename_files(xml, &names).unwrap();
        assert_eq!(renamed, xml.replace("file='/old' index='1'", "index=\"1\" file=\"/new\""));
        assert_eq!(first(xml, "b").unwrap().unwrap(), "<b><source file='/other'><x/></source></b>");
    }

    #[test]
    fn a_child_is_replaced_and_nothing_else() {
        let nic = device(XML, "interface", "ua-2").unwrap().unwrap();
        let moved = replace_child(&nic, "source", Some(&[("bridge", "br\"1")])).unwrap();
        assert_eq!(
            moved,
            "<interface type='bridge'><mac address='b'/><link state='up'/><alias name='ua-2'/>\
             <source bridge=\"br&quot;1\"/></interface>"
        );
        let bare = replace_child(&nic, "link", None).unwrap();
        assert_eq!(bare, nic.replace("<link state='up'/>", ""));
    }
}
