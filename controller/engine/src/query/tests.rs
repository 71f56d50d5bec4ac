use super::{Entity, Relation, Schema, everything};
use crate::{Any, Id, Result, inventory};

inventory! {
    OwnerInventory in "owner" { uuid: Id<Any>, name: String }
}

inventory! {
    ThingInventory in "thing" { uuid: Id<Any>, owner_uuid: Option<Id<Any>> } => [
        Relation::one::<OwnerInventory>("owner", "owner_uuid").back("things"),
    ]
}

inventory! {
    WrongInventory in "wrong" { uuid: Id<Any> } => [Relation::one::<OwnerInventory>("owner", "owner_uuid")]
}

inventory! {
    DoubleInventory in "double" { uuid: Id<Any>, owner: Id<Any> } => [
        Relation::one::<OwnerInventory>("owner", "owner"),
    ]
}

mod another {
    use super::*;

    inventory! {
        OwnerInventory in "another_owner" { uuid: Id<Any> }
    }
}

fn schema(entities: &[Entity]) -> Result<Schema> {
    Schema::new(entities.to_vec(), everything)
}

#[test]
fn a_relation_leads_both_ways() {
    let (thing, owner) = (Entity::of::<ThingInventory>(), Entity::of::<OwnerInventory>());
    // The same inventory may be listed at several places.
    let schema = schema(&[thing, owner, thing]).unwrap();
    assert_eq!(schema.entities().len(), 2);
    let (there, to) = schema.hop(&thing, "owner").unwrap();
    assert_eq!((to.kind, there.here, there.there), ("Owner", "owner_uuid", "uuid"));
    let (back, to) = schema.hop(&owner, "things").unwrap();
    assert_eq!((to.kind, back.here, back.there), ("Thing", "uuid", "owner_uuid"));
    assert!(schema.hop(&owner, "owner").is_none());
    for name in ["thing", "Thing", "ThingVO", "ThingInventory"] {
        assert_eq!(schema.entity(name).map(|entity| entity.kind), Some("Thing"), "{name}");
    }
}

#[test]
fn what_leads_nowhere_stops_the_start() {
    let owner = Entity::of::<OwnerInventory>();
    for (entities, told) in [
        (vec![Entity::of::<ThingInventory>()], "leads to Owner, which nobody lists"),
        (vec![owner, Entity::of::<WrongInventory>()], "names the column owner_uuid, which Wrong has not"),
        (vec![owner, Entity::of::<DoubleInventory>()], "two things called \"owner\""),
        (vec![owner, Entity::of::<another::OwnerInventory>()], "two inventories are of kind Owner"),
    ] {
        let error = schema(&entities).err().unwrap();
        assert!(error.details().contains(told), "{error}");
    }
}
