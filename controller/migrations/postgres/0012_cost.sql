-- Which resources a flow owns is asked when it ends.
CREATE INDEX ownership_flow ON ownership (flow) WHERE flow IS NOT NULL;

-- What volumes that are made from a cached image need to know of it; NULL where it is to be looked at first.
ALTER TABLE image_cache ADD COLUMN format TEXT COLLATE "C";
ALTER TABLE image_cache ADD COLUMN virtual_size BIGINT;
