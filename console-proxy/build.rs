//! Puts the viewer into the program: the pages here and noVNC as `npm ci` leaves it in `web/node_modules`.
//! Without the latter the program builds all the same and says what is missing when it is asked.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const OWN: [&str; 4] = ["notice.html", "page.css", "vnc.html", "vnc.js"];

fn main() -> io::Result<()> {
    let web = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo tells it")).join("web");
    println!("cargo::rerun-if-changed={}", web.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut files: Vec<_> = OWN.iter().map(|name| ((*name).to_owned(), web.join(name))).collect();
    let novnc = web.join("node_modules/@novnc/novnc");
    let complete = novnc.join("core/rfb.js").is_file();
    if complete {
        collect(&novnc, "novnc", &mut files)?;
    } else {
        println!(
            "cargo::warning=console-proxy is built without its viewer: run `npm ci` in console-proxy/web"
        );
    }
    files.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo tells it"));
    fs::write(out.join("assets.rs"), source(&files, complete)?)
}

/// The modules and the licence they come under.
fn collect(dir: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &name, files)?;
        } else if name.ends_with(".js") || name.contains("LICENSE") || name.ends_with("/AUTHORS") {
            files.push((name, entry.path()));
        }
    }
    Ok(())
}

fn source(files: &[(String, PathBuf)], complete: bool) -> io::Result<String> {
    let mut hasher = DefaultHasher::new();
    let mut list = String::new();
    for (name, path) in files {
        (name, fs::read(path)?).hash(&mut hasher);
        let _ = writeln!(list, "    ({name:?}, include_bytes!({path:?})),");
    }
    let version = format!("{:016x}", hasher.finish());
    Ok(format!(
        "pub const COMPLETE: bool = {complete};\n\
         pub const VERSION: &str = {version:?};\n\
         static FILES: &[(&str, &[u8])] = &[\n{list}];\n"
    ))
}
