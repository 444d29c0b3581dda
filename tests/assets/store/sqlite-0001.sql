-- A state database of the first schema, as SQLite 3 dumps it (.dump): made with migration 0001, never changed.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE decisions (
	id INTEGER NOT NULL,
	at BIGINT NOT NULL,
	job VARCHAR(255) NOT NULL,
	token VARCHAR(255) NOT NULL,
	uid BIGINT NOT NULL,
	account TEXT NOT NULL,
	action TEXT NOT NULL,
	mode TEXT NOT NULL,
	zones JSON NOT NULL,
	reasons JSON NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "decisions" VALUES(1,1800000000,'Zk3','Zk3',1000,'research','hold','enforce','[]','[{"code":"zone_power","subject":"rack01","asked_w":18500,"free_w":7500,"short_w":11000,"text":"zone rack01 is short of power: asked 18.5kW, free 7.5kW, short by 11kW"}]');
INSERT INTO "decisions" VALUES(2,1800000100,'812','Zk3',1000,'research','release','enforce','["rack01","rack02"]','[]');
INSERT INTO "decisions" VALUES(3,1800000200,'813_4','tok2',1001,'ops','admit','enforce','["rack02"]','[]');
CREATE TABLE intents (
	id INTEGER NOT NULL,
	target TEXT NOT NULL,
	action TEXT NOT NULL,
	at BIGINT NOT NULL,
	detail JSON NOT NULL,
	pending BOOLEAN NOT NULL,
	result TEXT,
	PRIMARY KEY (id)
);
INSERT INTO "intents" VALUES(1,'812','bind',1800000099,'{"keys":["Zk3"]}',0,'done');
INSERT INTO "intents" VALUES(2,'813','hold',1800000199,'{"keys":["tok2"]}',1,NULL);
CREATE TABLE jobs (
	token VARCHAR(255) NOT NULL,
	job_id BIGINT,
	uid BIGINT NOT NULL,
	account TEXT NOT NULL,
	tier TEXT NOT NULL,
	est_w BIGINT NOT NULL,
	max_w BIGINT NOT NULL,
	headroom_w BIGINT NOT NULL,
	correlation_group TEXT NOT NULL,
	submitted_at BIGINT NOT NULL,
	hold VARCHAR(16),
	detail JSON NOT NULL,
	PRIMARY KEY (token)
);
INSERT INTO "jobs" VALUES('Zk3',812,1000,'research','gold',18500,24000,0,'alice/train',1800000000,'power','{"comment":"power:est=18.5kW"}');
INSERT INTO "jobs" VALUES('tok2',NULL,1001,'ops','bronze',5000,6500,0,'bob/eval',1800000060,NULL,'{}');
CREATE TABLE settings (
	name VARCHAR(255) NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (name)
);
INSERT INTO "settings" VALUES('mode','{"mode": "advise", "file": "enforce", "uid": 0, "at": 1800000000}');
CREATE INDEX ix_decisions_at ON decisions (at);
CREATE INDEX ix_decisions_job ON decisions (job, at);
CREATE INDEX ix_intents_pending ON intents (pending);
COMMIT;
