CREATE SOURCE person (id BIGINT, name TEXT, city TEXT, state TEXT, at TIMESTAMP);
CREATE SOURCE auction (id BIGINT, item TEXT, seller BIGINT, category BIGINT, reserve BIGINT, at TIMESTAMP, expires TIMESTAMP);
CREATE SOURCE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, at TIMESTAMP);
CREATE TABLE side (key BIGINT PRIMARY KEY, label TEXT);
