//! Macros of the engine.
//!
//! `#[derive(Row)]` reads a struct from a row, each field from the column of its name:
//! `#[row(column = "uuid")]` names another column; `#[row(flatten)]` reads a field that is a row itself.
//! `#[boxed]` boxes the futures of a trait's functions ([`macro@boxed`]).

mod boxed;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Field, Fields, LitStr, Result};

#[proc_macro_derive(Row, attributes(row))]
pub fn row(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    implementation(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// The `async fn`s of a trait, or of an `impl` of it, return boxed futures that are `Send`.
#[proc_macro_attribute]
pub fn boxed(_: TokenStream, item: TokenStream) -> TokenStream {
    let item = syn::parse_macro_input!(item as syn::Item);
    boxed::expand(item).unwrap_or_else(Error::into_compile_error).into()
}

/// Where a field is read from.
enum From {
    Column(String),
    Row,
}

fn implementation(input: &DeriveInput) -> Result<Tokens> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(input, "a row is a struct"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(input, "the fields of a row have names"));
    };
    let name = &input.ident;
    let db = database();
    let read =
        fields.named.iter().enumerate().map(|(at, field)| read(at, field)).collect::<Result<Vec<_>>>()?;
    Ok(quote! {
        impl #db::Row for #name {
            fn read(cells: &#db::Cells<'_>) -> ::core::result::Result<Self, #db::Unreadable> {
                Ok(Self { #(#read),* })
            }
        }
    })
}

/// `at` is where the column probably stands.
fn read(at: usize, field: &Field) -> Result<Tokens> {
    let name = &field.ident;
    Ok(match from(field)? {
        From::Column(column) => quote!(#name: cells.get(#at, #column)?),
        From::Row => {
            let db = database();
            quote!(#name: #db::Row::read(cells)?)
        }
    })
}

/// The engine's module, as it is called where the struct stands.
fn database() -> Tokens {
    match std::env::var("CARGO_CRATE_NAME").as_deref() {
        Ok("engine") => quote!(crate::db),
        _ => quote!(::engine::db),
    }
}

fn from(field: &Field) -> Result<From> {
    let name = field.ident.as_ref().map(|name| name.unraw().to_string()).unwrap_or_default();
    let mut from = From::Column(name);
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("row")) {
        attribute.parse_nested_meta(|meta| {
            from = match () {
                () if meta.path.is_ident("flatten") => From::Row,
                () if meta.path.is_ident("column") => From::Column(meta.value()?.parse::<LitStr>()?.value()),
                () => return Err(meta.error("only column = \"…\" and flatten are known")),
            };
            Ok(())
        })?;
    }
    Ok(from)
}
